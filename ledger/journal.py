"""What a writer must know of a ledger to append: the next position and chain hash, every stream's version, known keys.

It learns from verified lines alone, its own included, so that many writers agree without talking to each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from ledger.chain import chain_bytes, chain_text
from ledger.codec import Encoded
from ledger.errors import CorruptError, FencedError, KeyReusedError, VersionConflictError
from ledger.events import OWNER_STREAMS
from ledger.layout import segment_name
from ledger.lines import Batch, Envelope
from ledger.record import Appended, Guard

__all__ = ["Journal", "KeyedBatch", "StreamHead"]

_FORMAT = 1


@define
class StreamHead:
    """Where a stream stands."""

    version: int = 0
    segments: list[int] = field(factory=list)
    """Numbers of the segments it is in, ascending."""


@frozen
class KeyedBatch:
    """What was appended under a key."""

    first: int
    names: tuple[str, ...]
    version: int
    """Of the stream, behind the batch."""
    chain: str

    @property
    def appended(self) -> Appended:
        return Appended(
            first=self.first,
            last=self.first + len(self.names) - 1,
            version=self.version,
            chain=self.chain,
            is_duplicate=True,
            is_durable=False,
        )


_Keys = dict[str, dict[str, KeyedBatch]]
"""By stream and key."""


class Journal:
    """The state of a ledger before `position`."""

    def __init__(self, position: int, chain: bytes, streams: dict[str, StreamHead] | None = None) -> None:
        self.position = position
        self.chain = chain
        self.streams: dict[str, StreamHead] = {} if streams is None else streams
        self._keys: _Keys = {}

    def version(self, stream: str) -> int:
        """Number of records in `stream`."""
        head = self.streams.get(stream)
        return 0 if head is None else head.version

    def absorb(self, batches: Sequence[tuple[bytes, Envelope]], segment: int, offset: int) -> None:
        """Learn from verified lines of whole batches at `offset`; CorruptError if one misstates its stream version."""
        stream, head, version = "", StreamHead(), 0
        for index, (_, envelope) in enumerate(batches):
            if envelope.s != stream:
                head.version = version
                stream = envelope.s
                head = self._head(stream, segment)
                version = head.version
            if envelope.v != version:
                head.version = version
                reason = f"it says version {envelope.v} of stream {stream!r}, which is at version {version}"
                raise CorruptError(segment_name(segment), offset + sum(len(line) + 1 for line, _ in batches[:index]), reason, envelope.q)
            version += 1
        head.version = version
        if self._keys:
            _learn_keys(self._keys, batches)
        if batches:
            last = batches[-1][1]
            self.position, self.chain = last.q + 1, chain_bytes(last.c)

    def appended(self, batch: Batch, stream: str, key: str | None, events: Sequence[Encoded], segment: int) -> Appended:
        """Learn from lines that this writer has just put into `segment`."""
        self._head(stream, segment).version = batch.version
        chain = chain_text(batch.chain)
        if key is not None and stream in self._keys:
            names = tuple(event.entry.name for event in events)
            self._keys[stream][key] = KeyedBatch(batch.first, names, batch.version, chain)
        self.position, self.chain = batch.last + 1, batch.chain
        return Appended(first=batch.first, last=batch.last, version=batch.version, chain=chain, is_duplicate=False, is_durable=False)

    def knows_keys(self, stream: str) -> bool:
        """Whether every key of `stream` is known here."""
        return stream in self._keys

    def load_keys(self, stream: str, chunks: Iterable[Sequence[tuple[bytes, Envelope]]]) -> None:
        """Learn all keys of `stream` out of its lines so far, whole batches at a time; from then on they are kept up to date."""
        found: _Keys = {stream: {}}
        for lines in chunks:
            _learn_keys(found, lines)
        self._keys.update(found)

    def find(self, stream: str, key: str | None, events: Sequence[Encoded]) -> Appended | None:
        """What was appended under `key`; KeyReusedError if it was something else. `stream`'s keys must be loaded."""
        found = None if key is None else self._keys[stream].get(key)
        if found is None or key is None:
            return None
        names = tuple(event.entry.name for event in events)
        if found.names != names:
            raise KeyReusedError(stream, key, found.names, names)
        return found.appended

    def check(self, stream: str, expected: int | None, guards: Sequence[Guard]) -> None:
        """VersionConflictError or FencedError unless `stream` and all `guards` stand where they should."""
        version = self.version(stream)
        if expected is not None and expected != version:
            raise VersionConflictError(stream, expected, version)
        for guard in guards:
            actual = self.version(guard.stream)
            if actual != guard.version:
                if guard.stream.startswith(OWNER_STREAMS):
                    raise FencedError(guard.stream.removeprefix(OWNER_STREAMS), guard.version, actual)
                raise VersionConflictError(guard.stream, guard.version, actual)

    def summary(self) -> bytes:
        """Everything but the keys, as canonical JSON."""
        streams = {name: {"segments": head.segments, "version": head.version} for name, head in self.streams.items()}
        value = {"chain": chain_text(self.chain), "format": _FORMAT, "position": self.position, "streams": streams}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_summary(cls, data: bytes) -> Journal:
        """The inverse of `summary`."""
        value: dict[str, Any] = json.loads(data)
        streams = {name: StreamHead(each["version"], each["segments"]) for name, each in value["streams"].items()}
        return cls(value["position"], chain_bytes(value["chain"]), streams)

    def _head(self, stream: str, segment: int) -> StreamHead:
        """Where `stream` stands, now that it is in `segment`."""
        head = self.streams.get(stream)
        if head is None:
            head = self.streams[stream] = StreamHead()
        if not head.segments or head.segments[-1] != segment:
            head.segments.append(segment)
        return head


def _learn_keys(keys: _Keys, batches: Sequence[tuple[bytes, Envelope]]) -> None:
    """Add what whole batches say to the streams in `keys`."""
    for index, (_, envelope) in enumerate(batches):
        if envelope.k is not None and envelope.s in keys:
            batch = [each for _, each in batches[index : index + envelope.b[1]]]
            keys[envelope.s][envelope.k] = KeyedBatch(
                first=envelope.q,
                names=tuple(each.name for each in batch),
                version=batch[-1].v + 1,
                chain=batch[-1].c,
            )
