"""One record as one line of UTF-8: how it is built and taken apart.

    {"c":CHAIN,"q":POSITION,"s":STREAM,"v":VERSION,"k":KEY,"b":[I,N],"t":TIME_MS,"y":"NAME/VERSION","m":META,"e":PAYLOAD}

The fields stand in this order without a space; `k` and `m` may be absent. The stored bytes are the truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from ledger.chain import HEAD_BYTES, head, link
from ledger.codec import Codec, Encoded, ReadBlob
from ledger.errors import EncodeError, EntryTooLargeError
from ledger.record import Meta, Record
from ledger.settings import LINE_MAX_BYTES

__all__ = [
    "Batch",
    "Envelope",
    "MetaFields",
    "build_batch",
    "check_key",
    "check_stream",
    "is_before",
    "meta_bytes",
    "name_and_version",
    "parse",
    "parse_lines",
    "rebuild",
    "record_maker",
]

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KEY = re.compile(r"[A-Za-z0-9._:/+=@-]{1,200}")
_STREAM_MAX_BYTES = 200
_ACTOR_MAX_BYTES = 200
_MAX_POSITION = 2**53 - 1
_NO_META = Meta()
_SPILLED = b',"e":{"$blob":"'
"""Stands in every line whose payload lies in a blob, and in hardly any other."""
_SPILLED_END = b'","num_bytes":'
_SPILLED_END_BYTES = len(_SPILLED_END) + 8 + len("}}")
"""The end of such a line; the number has at most 8 digits. A short look at the end spares a long one."""


class MetaFields(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """The field `m` of a line."""

    a: str | None = None
    f: int | None = None
    r: int | None = None
    z: int | None = None


class Envelope(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A line with its payload left as it is; its fields stand here as they stand there, so that it can be written again."""

    c: str
    q: int
    s: str
    v: int
    k: str | None = None
    b: tuple[int, int]
    t: int
    y: str
    m: MetaFields | None = None
    e: msgspec.Raw

    @property
    def name(self) -> str:
        return name_and_version(self.y)[0]


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Lines to be written together; a struct, since every append makes one."""

    data: bytes
    """All lines, each with its line feed."""
    first: int
    last: int
    version: int
    """Of the stream, behind them."""
    chain: bytes


_ENVELOPE = msgspec.json.Decoder(Envelope)
_ENCODER = msgspec.json.Encoder()

parse = _ENVELOPE.decode
"""The envelope of a line without its line feed; raises msgspec.DecodeError."""
parse_lines = _ENVELOPE.decode_lines
"""The envelopes of lines that each end with a line feed; raises msgspec.DecodeError."""


@lru_cache(maxsize=4096)
def name_and_version(written: str) -> tuple[str, int]:
    """Event name and version out of the field `y`."""
    name, _, number = written.rpartition("/")
    return name, int(number)


@lru_cache(maxsize=4096)
def check_stream(stream: str) -> None:
    """Raises ValueError unless `stream` can name a stream."""
    if _STREAM.fullmatch(stream) is None or len(stream) > _STREAM_MAX_BYTES:
        raise ValueError(
            f"The stream name {stream!r} is not made of parts of letters, digits, '.', '_' and '-' joined by '/', at most 200 bytes in all."
        )


def check_key(key: str | None) -> None:
    """Raises ValueError unless `key` can be an idempotency key."""
    if key is not None and _KEY.fullmatch(key) is None:
        raise ValueError(f"The key {key!r} is not made of 1 to 200 letters, digits and . _ : / + = @ -")


def meta_bytes(meta: Meta, fence: int | None, num_redactions: int | None = None) -> bytes:
    """The field `m` with its name, or nothing."""
    if meta is _NO_META and fence is None and num_redactions is None:
        return b""
    if meta.actor is not None:
        _check_actor(meta.actor)
    if meta.cause is not None and not 0 <= meta.cause <= _MAX_POSITION:
        raise ValueError(f"The cause {meta.cause} is no position, expected 0 to {_MAX_POSITION}: give that of a record.")
    fields = MetaFields(a=meta.actor, f=fence, r=num_redactions, z=meta.cause)
    return b"" if fields == MetaFields() else b',"m":' + _ENCODER.encode(fields)


def _check_actor(actor: str) -> None:
    try:
        num_bytes = len(actor.encode())
    except UnicodeEncodeError as error:
        raise EncodeError(f"The actor {actor!r} holds half a character, expected text: give another name.") from error
    if num_bytes > _ACTOR_MAX_BYTES:
        raise ValueError(f"The actor {actor!r} has more than {_ACTOR_MAX_BYTES} bytes; give a shorter name.")


def build_batch(
    events: Sequence[Encoded], *, position: int, chain: bytes, stream: str, version: int, key: str | None, time_ms: int, meta: bytes
) -> Batch:
    """The lines of `events`, numbered and chained from `position`, `chain` and `version` on."""
    size = len(events)
    parts: list[bytes] = []
    keyed = b"" if key is None else b',"k":"%s"' % key.encode()
    name = stream.encode()
    for index, event in enumerate(events):
        entry = event.entry
        tail = b',"q":%d,"s":"%s","v":%d%s,"b":[%d,%d],"t":%d,"y":"%s/%d"%s,"e":%s}' % (
            position + index,
            name,
            version + index,
            keyed if index == 0 else b"",
            index + 1,
            size,
            time_ms,
            entry.name.encode(),
            entry.version,
            meta if event.meta is None else event.meta,
            event.payload,
        )
        num_bytes = HEAD_BYTES + len(tail)
        if num_bytes > LINE_MAX_BYTES:
            raise EntryTooLargeError(entry.name, num_bytes, LINE_MAX_BYTES)
        chain = link(chain, tail)
        parts.append(head(chain) + tail + b"\n")
    return Batch(data=b"".join(parts), first=position, last=position + size - 1, version=version + size, chain=chain)


def rebuild(envelopes: Sequence[Envelope]) -> bytes:
    """The bytes that the grammar prescribes for `envelopes`, each line with its line feed; what differs was not written by a writer."""
    return _ENCODER.encode_lines(envelopes)


def is_before(envelope: Envelope, at: int | None) -> bool:
    """Whether the line's whole batch lies at positions up to `at`; None is the end of time."""
    return at is None or envelope.q - envelope.b[0] + envelope.b[1] <= at


def record_maker(codec: Codec, read_blob: ReadBlob) -> Callable[[bytes, Envelope], Record]:
    """What makes the record, with its typed event, that a line and its envelope hold."""
    known: dict[str, tuple[str, int, Callable[[msgspec.Raw], object] | None]] = {}

    def make(line: bytes, envelope: Envelope) -> Record:
        kind = known.get(envelope.y)
        if kind is None:
            name, version = name_and_version(envelope.y)
            kind = known[envelope.y] = name, version, codec.native(name, version)
        name, version, native = kind
        payload = envelope.e
        if native is None or (_SPILLED_END in line[-_SPILLED_END_BYTES:] and _SPILLED in line):
            event = codec.decode(name, version, payload, read_blob)
        else:
            try:
                event = native(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                event = codec.decode_strictly(name, version, payload)
        index, size = envelope.b
        fields = envelope.m
        meta = _NO_META if fields is None else Meta(actor=fields.a, cause=fields.z, fence=fields.f, num_redactions=fields.r)
        position, stream, number = envelope.q, envelope.s, envelope.v
        return Record(position, envelope.c, stream, number, envelope.k, index, size, envelope.t, name, version, meta, event, line)

    return make
