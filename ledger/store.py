"""What a store of records promises, and one that keeps them in memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import structs

from ledger.blobs import Blobs
from ledger.chain import chain_bytes
from ledger.clock import Clock, SystemClock
from ledger.codec import Codec
from ledger.errors import BlobMissingError, LedgerClosedError, TamperedError
from ledger.events import LEDGER_STREAM, created_event
from ledger.journal import Journal
from ledger.lines import Envelope, build_batch, is_before, parse, record_maker
from ledger.preparation import prepare
from ledger.record import Appended, BlobRef, Cursor, Guard, Meta, Record
from ledger.redaction import Redactor
from ledger.registry import Durability, Registry
from ledger.selection import Selection
from ledger.settings import LedgerSettings

__all__ = ["NO_META", "MemoryStore", "Store", "Tail"]

NO_META = Meta()


class Tail(Protocol):
    """The records after a cursor, as they come; reading never waits."""

    @property
    def check_seconds(self) -> float:
        """How long to wait for a wake-up before reading anyway."""
        ...

    def read(self) -> list[Record]:
        """New complete records, about one chunk; nothing if there are none now."""
        ...

    @property
    def cursor(self) -> Cursor:
        """The place behind everything that was read, whether it matched or not."""
        ...

    def wakeup_fileno(self) -> int | None:
        """A descriptor that becomes readable when there may be more, or None where the system has no such thing."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """Typed records in one order, each in a stream."""

    def append(
        self,
        stream: str,
        events: Sequence[object],
        *,
        expected: int | None = None,
        key: str | None = None,
        guards: Sequence[Guard] = (),
        meta: Meta = NO_META,
        durability: Durability | None = None,
    ) -> Appended:
        """Append `events` to `stream`, all or nothing.

        A known `key` returns the first append's answer; then `expected` (the stream's version) and `guards` must hold, and
        every blob that an event names must be stored.
        The batch is acknowledged in the strongest class of its events; `durability` can only strengthen that.
        """
        ...

    async def append_async(
        self,
        stream: str,
        events: Sequence[object],
        *,
        expected: int | None = None,
        key: str | None = None,
        guards: Sequence[Guard] = (),
        meta: Meta = NO_META,
        durability: Durability | None = None,
    ) -> Appended:
        """The same; the event loop never waits for a lock or a disk."""
        ...

    def read(self, stream: str, *, start: int = 0, at: int | None = None) -> Iterator[Record]:
        """Records of `stream` from version `start` on, up to position `at`; a position inside a batch counts as its start."""
        ...

    def scan(self, *, start: int = 0, stop: int | None = None, streams: str = "*", names: str = "*") -> Iterator[Record]:
        """All records from position `start` to before `stop` whose stream and name match the globs; no position is below 0."""
        ...

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The stored bytes from position `start` to before `stop`, each line without its line feed."""
        ...

    def version(self, stream: str) -> int:
        """Number of records in `stream`."""
        ...

    def end(self) -> Cursor:
        """The place behind the last visible complete batch."""
        ...

    def sync(self) -> Cursor:
        """The same place, with all before it on the medium."""
        ...

    def tail(self, after: Cursor, *, streams: str = "*", names: str = "*") -> Tail:
        """What comes after `after`; TamperedError if that is no place of this store."""
        ...

    def close(self) -> None:
        """Bring everything to the medium; later use raises LedgerClosedError."""
        ...


class MemoryStore:
    """A store for tests and for rehearsals; it makes the same bytes as any other, and forgets them.

    `blobs` are those that events may name; without them any blob may be named, as nobody knows which there are.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        origin: str = "memory.invalid",
        clock: Clock | None = None,
        settings: LedgerSettings | None = None,
        filesystem: str = "memory",
        redactor: Redactor | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        self._named_blobs = blobs
        self._codec = Codec(registry)
        self._make_record = record_maker(self._codec, self._read_blob)
        self._redactor = redactor
        self._clock = SystemClock() if clock is None else clock
        self._settings = LedgerSettings() if settings is None else settings
        self._genesis = Cursor.genesis(origin)
        self._journal = Journal(0, chain_bytes(self._genesis.chain))
        self._lines: list[tuple[bytes, Envelope]] = []
        self._blobs: dict[str, bytes] = {}
        self._tails: list[_MemoryTail] = []
        self._mutex = threading.RLock()
        self._is_closed = False
        self.append(LEDGER_STREAM, [created_event(origin, filesystem)])

    def append(
        self,
        stream: str,
        events: Sequence[object],
        *,
        expected: int | None = None,
        key: str | None = None,
        guards: Sequence[Guard] = (),
        meta: Meta = NO_META,
        durability: Durability | None = None,
    ) -> Appended:
        ready = prepare(
            self._codec,
            self._settings,
            self._put,
            stream,
            events,
            key=key,
            guards=guards,
            meta=meta,
            durability=durability,
            redactor=self._redactor,
        )
        with self._mutex:
            self._check_open()
            journal = self._journal
            if key is not None and not journal.knows_keys(stream):
                journal.load_keys(stream, [self._lines])
            found = journal.find(stream, key, ready.events)
            if found is not None:
                return found
            journal.check(stream, expected, guards)
            self._check_blobs(ready.blobs)
            batch = build_batch(
                ready.events,
                position=journal.position,
                chain=journal.chain,
                stream=stream,
                version=journal.version(stream),
                key=key,
                time_ms=self._clock.now_ms(),
                meta=ready.meta,
            )
            self._lines += [(line, parse(line)) for line in batch.data.split(b"\n")[:-1]]
            appended = journal.appended(batch, stream, key, ready.events, 0)
            for tail in self._tails:
                tail.wake()
            return structs.replace(appended, is_durable=ready.durability is Durability.TRANSITION, is_redacted=ready.is_redacted)

    async def append_async(
        self,
        stream: str,
        events: Sequence[object],
        *,
        expected: int | None = None,
        key: str | None = None,
        guards: Sequence[Guard] = (),
        meta: Meta = NO_META,
        durability: Durability | None = None,
    ) -> Appended:
        return self.append(stream, events, expected=expected, key=key, guards=guards, meta=meta, durability=durability)

    def read(self, stream: str, *, start: int = 0, at: int | None = None) -> Iterator[Record]:
        self._check_open()
        chosen = [row for row in tuple(self._lines) if row[1].s == stream and row[1].v >= start and is_before(row[1], at)]
        return (self._make_record(line, envelope) for line, envelope in chosen)

    def scan(self, *, start: int = 0, stop: int | None = None, streams: str = "*", names: str = "*") -> Iterator[Record]:
        self._check_open()
        selection = Selection(streams, names)
        chosen = [row for row in self._between(start, stop) if selection.includes(row[1])]
        return (self._make_record(line, envelope) for line, envelope in chosen)

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        self._check_open()
        return (line for line, _ in self._between(start, stop))

    def version(self, stream: str) -> int:
        self._check_open()
        return self._journal.version(stream)

    def end(self) -> Cursor:
        self._check_open()
        return self._cursor(len(self._lines))

    def sync(self) -> Cursor:
        return self.end()

    def tail(self, after: Cursor, *, streams: str = "*", names: str = "*") -> Tail:
        with self._mutex:
            self._check_open()
            if after.position > len(self._lines) or self._cursor(after.position) != after:
                raise TamperedError(f"the cursor at position {after.position} is no place of this store")
            tail = _MemoryTail(self, after, Selection(streams, names))
            self._tails.append(tail)
            return tail

    def close(self) -> None:
        self._is_closed = True

    def records_from(self, position: int, selection: Selection) -> tuple[list[Record], Cursor]:
        """The selected records from `position` on, and the place behind them."""
        rows = self._lines[position:]
        records = [self._make_record(line, envelope) for line, envelope in selection.choose(rows)]
        return records, self._cursor(position + len(rows))

    def forget(self, tail: Tail) -> None:
        """Wake `tail` no more."""
        with self._mutex:
            self._tails = [each for each in self._tails if each is not tail]

    def _between(self, start: int, stop: int | None) -> list[tuple[bytes, Envelope]]:
        return self._lines[max(start, 0) : None if stop is None else max(stop, 0)]

    def _cursor(self, position: int) -> Cursor:
        return self._genesis if position == 0 else Cursor(position=position, chain=self._lines[position - 1][1].c)

    def _put(self, data: bytes) -> BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        self._blobs[sha256] = data
        return BlobRef(sha256=sha256, num_bytes=len(data))

    def _read_blob(self, ref: BlobRef) -> bytes:
        if ref.sha256 not in self._blobs:
            raise BlobMissingError(ref.sha256)
        return self._blobs[ref.sha256]

    def _check_blobs(self, refs: Sequence[BlobRef]) -> None:
        for ref in refs:
            if self._named_blobs is not None and ref.sha256 not in self._blobs and not self._named_blobs.has(ref):
                raise BlobMissingError(ref.sha256)

    def _check_open(self) -> None:
        if self._is_closed:
            raise LedgerClosedError("The store is closed: make a new one.")


class _MemoryTail:
    """Follows a store in memory; a pipe wakes whoever waits."""

    check_seconds = 0.1

    def __init__(self, store: MemoryStore, after: Cursor, selection: Selection) -> None:
        self.cursor = after
        self._store = store
        self._selection = selection
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def read(self) -> list[Record]:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        records, self.cursor = self._store.records_from(self.cursor.position, self._selection)
        return records

    def wakeup_fileno(self) -> int | None:
        return self._reader

    def wake(self) -> None:
        """Say that there may be more."""
        with contextlib.suppress(BlockingIOError):  # it has been told often enough
            os.write(self._writer, b"!")

    def close(self) -> None:
        if self._reader >= 0:
            self._store.forget(self)
            os.close(self._reader)
            os.close(self._writer)
            self._reader = -1
