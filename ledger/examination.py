"""The lines of a ledger, held one by one against every rule of the format.

Unlike a reader it goes on behind a damaged line, so that all damage is found: the chain hash that the line states is
taken as the start of the next.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from operator import attrgetter
from typing import Any

import msgspec
from attrs import define, field

from ledger.blobs import Blobs
from ledger.chain import HEAD_BYTES, chain_bytes, head, link
from ledger.codec import Codec, is_spilled, spilled
from ledger.errors import BlobDamagedError, BlobMissingError, DecodeError, PayloadError
from ledger.events import OWNER_STREAMS
from ledger.findings import Finding, finding
from ledger.layout import segment_name
from ledger.lines import Envelope, name_and_version, parse, parse_lines, rebuild
from ledger.record import BlobRef
from ledger.settings import LINE_MAX_BYTES

__all__ = ["Examination"]

_BLOB_REF = re.compile(rb'\{"num_bytes":([0-9]+),"sha256":"([0-9a-f]{64})"\}')
_FIELDS = attrgetter("q", "v", "b", "s", "t", "k", "m")


@define
class _Order:
    """What a stretch of lines adds to what is known of streams."""

    versions: dict[str, int] = field(factory=dict[str, int])
    keys: set[tuple[str, str]] = field(factory=set[tuple[str, str]])
    fences: dict[str, int] = field(factory=dict[str, int])
    held: Counter[int] = field(factory=Counter[int])
    num_clock_steps: int = 0


class Examination:
    """Goes through the lines in order and collects what is wrong with them."""

    def __init__(self, chain: bytes, position: int, *, blobs: Blobs, codec: Codec | None, is_deep: bool) -> None:
        self.chain = chain
        self.position = position
        self.findings: list[Finding] = []
        self.num_spilled = 0
        self.num_clock_steps = 0
        self.named: dict[BlobRef, int] = {}
        """Every blob that a line names, with the first such position."""
        self._blobs = blobs
        self._codec = codec
        self._is_deep = is_deep
        self._versions: dict[str, int] | None = {} if position == 0 else None
        self._keys: set[tuple[str, str]] = set()
        self._fences: dict[str, int] = {}
        """The last of each stream."""
        self._held: Counter[int] = Counter()
        """How many runs have an owner with this fence, or had one last."""
        self._batch: Envelope | None = None
        self._time_ms = 0

    @property
    def is_between_batches(self) -> bool:
        """Whether the last line ended a batch."""
        return self._batch is None

    def take(self, line: bytes, segment: int, offset: int) -> None:
        """Examine the next line, which stands at `offset` of `segment`, without its line feed."""
        place: dict[str, Any] = {"segment": segment_name(segment), "offset_bytes": offset, "position": self.position}
        for code, message in self._mistakes(line):
            self.findings.append(finding(code, f"The line at position {self.position} {message}.", **place))
        self.position += 1

    def take_clean(self, data: bytes) -> list[bytes]:
        """Take as many of the next lines, those of `data`, as make whole batches, if nothing at all is wrong; else none. The lines taken.

        Finds what `take` finds, in a third of the time.
        """
        if self._is_deep or self._batch is not None or self._versions is None:
            return []
        try:
            envelopes = parse_lines(data)
        except (msgspec.DecodeError, ValueError):
            return []
        lines = data.split(b"\n")[: len(envelopes)]
        index, size = envelopes[-1].b if envelopes else (0, 0)
        if index < size:
            data = data[: sum(map(len, lines[:-index])) + len(lines) - index]
            del lines[-index:], envelopes[-index:]
        chain = _chain_behind(lines, self.chain)
        order = None if chain is None or not lines else self._order_behind(envelopes)
        if chain is None or order is None or not _has_form(data, lines, envelopes) or not self._has_content(data, envelopes):
            return []
        self._versions.update(order.versions)
        self._keys |= order.keys
        self._fences.update(order.fences)
        self._held.update(order.held)
        self.num_clock_steps += order.num_clock_steps
        self.chain, self._time_ms = chain, envelopes[-1].t
        self.position += len(lines)
        return lines

    def go_to(self, chain: bytes, position: int) -> None:
        """Go on behind lines that are not there; from here on no stream's version is known."""
        self.chain, self.position, self._versions, self._batch = chain, position, None, None

    def end_of_segment(self, segment: int, offset: int) -> None:
        """A batch may not go on in the next segment."""
        if self._batch is not None:
            message = f"The batch before position {self.position} is not whole."
            self.findings.append(
                finding("batch_broken", message, segment=segment_name(segment), offset_bytes=offset, position=self.position)
            )
            self._batch = None

    def _mistakes(self, line: bytes) -> Iterator[tuple[str, str]]:
        try:
            envelope = parse(line)
            stated = chain_bytes(envelope.c)
        except (msgspec.DecodeError, ValueError) as error:
            self._batch = None
            yield "line_damaged", f"cannot be read ({error})"
            self.chain = link(self.chain, line[HEAD_BYTES:])
            return
        if line[:HEAD_BYTES] != head(link(self.chain, line[HEAD_BYTES:])):
            yield "chain_broken", "does not follow from the line before it: one of the two was altered, or a line is missing"
        elif line + b"\n" != rebuild([envelope]) or len(line) > LINE_MAX_BYTES:
            yield "line_damaged", "does not have the form in which lines are written"
        self.chain = stated
        if envelope.q != self.position:
            yield "position_gap", f"says it is at position {envelope.q}"
            self.position = envelope.q
        yield from self._order(envelope)
        yield from self._content(envelope)

    def _order(self, envelope: Envelope) -> Iterator[tuple[str, str]]:
        yield from self._fence_mistakes(envelope)
        if self._versions is not None:
            expected = self._versions.get(envelope.s, 0)
            if envelope.v != expected:
                yield "version_gap", f"says it is version {envelope.v} of stream {envelope.s!r}, expected {expected}"
            self._versions[envelope.s] = envelope.v + 1
            _pass_on(self._held, envelope.s, expected, envelope.v + 1)
        yield from self._batch_mistakes(envelope)
        if envelope.k is not None:
            if (envelope.s, envelope.k) in self._keys:
                yield "key_duplicate", f"has the key {envelope.k!r}, which stream {envelope.s!r} has had before"
            self._keys.add((envelope.s, envelope.k))
        self.num_clock_steps += envelope.t < self._time_ms
        self._time_ms = envelope.t

    def _fence_mistakes(self, envelope: Envelope) -> Iterator[tuple[str, str]]:
        fence = envelope.m.f if envelope.m is not None else None
        if fence is None:
            return
        before = self._fences.get(envelope.s, 0)
        if envelope.b[0] == 1 and self._versions is not None and fence > 0 and not self._held[fence]:
            yield "fence_violation", f"was written by owner {fence} of a run, but no run had such an owner then"
        elif fence < before:
            yield "fences_mixed", f"was written by owner {fence} of a run, after owner {before} of a run wrote to stream {envelope.s!r}"
        self._fences[envelope.s] = fence

    def _order_behind(self, envelopes: list[Envelope]) -> _Order | None:
        """What is so behind `envelopes`, whole batches from here on; None if anything is out of order."""
        known = {} if self._versions is None else self._versions
        order = _Order()
        versions, position, time_ms = order.versions, self.position, self._time_ms
        stream, version, index, size = "", 0, 0, 0
        for q, v, place, s, t, key, meta in map(_FIELDS, envelopes):
            index += 1
            if index > size:
                stream, index, size = s, 1, place[1]
                version = versions[stream] if stream in versions else known.get(stream, 0)
                if size < 1 or (key is not None and not self._may_use(stream, key, order)):
                    return None
            elif key is not None:
                return None
            if q != position or v != version or place != (index, size) or s != stream:
                return None
            if meta is not None and meta.f is not None and not self._may_have(stream, meta.f, order):
                return None
            order.num_clock_steps += t < time_ms
            position, time_ms, version = position + 1, t, version + 1
            if index == size:
                _pass_on(order.held, stream, version - size, version)
                versions[stream] = version
        return order if index == size else None

    def _may_use(self, stream: str, key: str, order: _Order) -> bool:
        """Whether a batch may have this key."""
        is_new = (stream, key) not in self._keys and (stream, key) not in order.keys
        order.keys.add((stream, key))
        return is_new

    def _may_have(self, stream: str, fence: int, order: _Order) -> bool:
        """Whether this owner may write behind the last one."""
        if fence < order.fences.get(stream, self._fences.get(stream, 0)) or (fence > 0 and not self._held[fence] + order.held[fence]):
            return False
        order.fences[stream] = fence
        return True

    def _has_content(self, data: bytes, envelopes: list[Envelope]) -> bool:
        """Whether nothing is wrong with the payloads, and none lies in a blob; the blobs that they name are noted."""
        if b"$" in data and b'"$blob"' in data:  # one byte alone is looked for many times faster
            return False
        for each in envelopes if self._codec is not None else ():
            if self._codec is not None and any(True for _ in self._event_mistakes(self._codec, each, bytes(each.e))):
                return False
        for each in envelopes if b'"sha256":"' in data else ():
            self._note_blobs(bytes(each.e), each.q)
        return True

    def _batch_mistakes(self, envelope: Envelope) -> Iterator[tuple[str, str]]:
        before, (index, size) = self._batch, envelope.b
        expected = (1, size) if before is None else (before.b[0] + 1, before.b[1])
        if (index, size) != expected or not 1 <= index <= size or (before is not None and before.s != envelope.s):
            yield (
                "batch_broken",
                f"is line {index} of a batch of {size} in stream {envelope.s!r}, which does not follow from the line before it",
            )
        elif envelope.k is not None and index > 1:
            yield "batch_broken", "has a key, which only the first line of a batch may have"
        self._batch = envelope if index < size else None

    def _content(self, envelope: Envelope) -> Iterator[tuple[str, str]]:
        payload = bytes(envelope.e)
        if is_spilled(payload):
            self.num_spilled += 1
            ref = spilled(payload)
            self.named.setdefault(ref, envelope.q)
            with suppress(BlobMissingError, BlobDamagedError):  # reported with the blobs
                self._note_blobs(self._blobs.read(ref), envelope.q)
        self._note_blobs(payload, envelope.q)
        if self._is_deep:
            yield from _json_mistakes(payload)
        if self._codec is not None:
            yield from self._event_mistakes(self._codec, envelope, payload)

    def _note_blobs(self, payload: bytes, position: int) -> None:
        for num_bytes, digest in _BLOB_REF.findall(payload):
            self.named.setdefault(BlobRef(sha256=digest.decode(), num_bytes=int(num_bytes)), position)

    def _event_mistakes(self, codec: Codec, envelope: Envelope, payload: bytes) -> Iterator[tuple[str, str]]:
        name, version = name_and_version(envelope.y)
        if not codec.is_known(name, version):
            yield "unknown_event", f"holds {envelope.y}, which this program does not know"
            return
        try:
            codec.decode(name, version, payload, self._blobs.read)
            if self._is_deep and not is_spilled(payload):
                codec.decode_strictly(name, version, payload)
        except PayloadError as error:
            is_unknown_field = all(problem.startswith("unknown key") for problem in error.problems)
            yield "unknown_field" if is_unknown_field else "undecodable_event", f"does not fit its class: {'; '.join(error.problems)}"
        except DecodeError as error:
            yield "undecodable_event", f"cannot be decoded: {error}"
        except (BlobMissingError, BlobDamagedError):
            pass  # reported with the blobs


def _pass_on(held: Counter[int], stream: str, before: int, after: int) -> None:
    """Note that `stream`, if it tells of a run's owners, went from one version, which is their fence, to another."""
    if stream.startswith(OWNER_STREAMS):
        held[before] -= 1
        held[after] += 1


def _json_mistakes(payload: bytes) -> Iterator[tuple[str, str]]:
    try:
        if _has_twin_keys(payload):
            yield "duplicate_json_key", "has a JSON object with the same key twice"
    except ValueError as error:
        yield "line_damaged", f"has a payload that is no JSON ({error})"


def _chain_behind(lines: list[bytes], chain: bytes) -> bytes | None:
    """Chain hash behind `lines`, which follow `chain`; None if one states another than its own."""
    for line in lines:
        chain = sha256(chain + line[51:]).digest()
        if line[6:50] != b2a_base64(chain, newline=False):  # what stands around it belongs to the form
            return None
    return chain


def _has_form(data: bytes, lines: list[bytes], envelopes: list[Envelope]) -> bool:
    """Whether `data`, made of `lines`, is what the grammar prescribes for `envelopes`."""
    return data == rebuild(envelopes) and max(map(len, lines)) <= LINE_MAX_BYTES


def _has_twin_keys(payload: bytes) -> bool:
    found = False

    def note(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    json.loads(payload, object_pairs_hook=note)
    return found
