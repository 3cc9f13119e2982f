"""The store that many processes share: one folder of append-only files, no server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from msgspec import structs

from ledger.blobs import Blobs
from ledger.chain import chain_text
from ledger.clock import Clock
from ledger.codec import Codec
from ledger.disk import Disk, sync_path
from ledger.errors import BlobMissingError, LedgerClosedError, ReadOnlyLedgerError
from ledger.events import LEDGER_STREAM
from ledger.forks import watch_forks
from ledger.heads import Heads, Records
from ledger.layout import Layout
from ledger.lines import is_before, record_maker
from ledger.places import PlaceHints
from ledger.preparation import Prepared, prepare
from ledger.record import Appended, Cursor, Guard, Meta, Record
from ledger.redaction import Redactor
from ledger.registry import Durability, Registry
from ledger.scanning import Lines, Place
from ledger.segment_reader import SegmentReader
from ledger.segment_writer import SegmentWriter
from ledger.selection import Selection
from ledger.settings import LedgerSettings
from ledger.signed_history import SignedHistory
from ledger.store import NO_META, Tail
from ledger.tree_head import Signer, TreeHead

__all__ = ["FileStore"]

T = TypeVar("T")

_NUM_APPENDERS = 8


class FileStore:
    """A handle on the ledger at `path`, safe from any thread; `create_ledger` and `open_ledger` make one."""

    def __init__(
        self,
        path: Path,
        origin: str,
        registry: Registry,
        *,
        write: bool,
        settings: LedgerSettings,
        clock: Clock,
        disk: Disk,
        redactor: Redactor | None = None,
        vkey: str | None = None,
        signer: Signer | None = None,
    ) -> None:
        self.path = path
        self.origin = origin
        self.redactor = redactor
        """What takes secrets out of everything that is appended; may be set anew when a policy becomes known."""
        self.blobs = Blobs(path / "blobs")
        self._layout = Layout(path)
        self._settings = settings
        self._codec = Codec(registry)
        self._make_record = record_maker(self._codec, self.blobs.read)
        self._can_write = write
        self._closed_because = ""
        self._mutex = threading.RLock()
        self._appenders: ThreadPoolExecutor | None = None
        records = Records(sync=self.sync, lines=self.lines, append=lambda event: self.append(LEDGER_STREAM, [event]))
        self._heads = Heads(self._layout, origin, vkey, records, signer if write else None, settings)
        self._writer = SegmentWriter(self._layout, origin, self._codec, self.blobs, settings, clock, disk, write=write)
        self._places = self._writer.places
        self._reader = SegmentReader(self._layout, self._places, settings, lambda: self._writer.is_locked_here)
        watch_forks(self)
        try:
            self._unheld_head = self._layout.read_head(strict=write)
            if write:
                self._writer.clear_old_mark()
                self._put_right()
                self._hold_head()
            elif not self._reader.holds_lines(self._writer.place, self._unheld_head):
                self._catch_up()
        except BaseException:
            self.close()
            raise

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
        if self._closed_because or not self._can_write:
            self._check_writable()
        ready = prepare(
            self._codec,
            self._settings,
            self.blobs.put_bytes,
            stream,
            events,
            key=key,
            guards=guards,
            meta=meta,
            durability=durability,
            redactor=self.redactor,
        )
        with self._mutex:
            if self._closed_because:
                self._check_writable()
            self._learn_keys(stream, key)
            with self._writer:
                self._learn_keys(stream, key)  # a failure to catch up makes it all be read anew
                appended = self._append_locked(stream, ready, expected, key, guards)
            self._places.note(self._writer.place)
            ticket = self._writer.syncer.wrote(self._writer.place.offset)
        self._heads.appended(appended.last + 1)
        if ready.durability is Durability.TRANSITION:
            self._writer.syncer.wait(ticket)
            return structs.replace(appended, is_durable=True)
        self._writer.syncer.soon()
        return appended

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
        loop = asyncio.get_running_loop()
        work = partial(self.append, stream, events, expected=expected, key=key, guards=guards, meta=meta, durability=durability)
        self._check_writable()
        if self._appenders is None:
            self._appenders = ThreadPoolExecutor(_NUM_APPENDERS, thread_name_prefix="ledger-append")
        try:
            appending = loop.run_in_executor(self._appenders, work)
        except RuntimeError as error:  # the executor was shut down in this instant
            raise LedgerClosedError("The ledger is closed: open it again.") from error
        return await appending

    def read(self, stream: str, *, start: int = 0, at: int | None = None) -> Iterator[Record]:
        with self._mutex:
            self._catch_up()
            rows = self._stream_lines(stream)
        make = self._make_record
        if at is None:
            return (make(line, each) for lines in rows for line, each in lines if each.s == stream and each.v >= start)
        return (make(line, each) for lines in rows for line, each in lines if each.s == stream and each.v >= start and is_before(each, at))

    def scan(self, *, start: int = 0, stop: int | None = None, streams: str = "*", names: str = "*") -> Iterator[Record]:
        chosen, make = Selection(streams, names).choose, self._make_record
        return (make(line, each) for lines in self._lines(start, stop, self._reader.walk) for line, each in chosen(lines))

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return chain.from_iterable(self._lines(start, stop, self._reader.walk_texts))

    def version(self, stream: str) -> int:
        with self._mutex:
            self._catch_up()
            return self._writer.journal.version(stream)

    def end(self) -> Cursor:
        with self._mutex:
            self._catch_up()
            journal = self._writer.journal
            return Cursor(position=journal.position, chain=chain_text(journal.chain))

    def sync(self) -> Cursor:
        end = self.end()
        if self._can_write:
            self._writer.sync()
        else:
            sync_path(self._layout.segment(self._layout.segment_numbers()[-1]))
        return end

    def tail(self, after: Cursor, *, streams: str = "*", names: str = "*") -> Tail:
        with self._mutex:
            self._check_open()
            if self._can_write:
                self._catch_up()
            highest = self._writer.place.segment
        return self._reader.tail(after, highest, Selection(streams, names), self._make_record)

    @property
    def can_sign(self) -> bool:
        """Whether this handle was given a key."""
        return self._heads.signer is not None

    def sign_head(self) -> str | None:
        """Sign all records that are there; the note, or None if nothing but signatures was appended since the last one.

        Raises KeyFileError without a signer that may sign, HeadConflictError if what was signed before was changed.
        """
        self._check_writable()
        return self._heads.sign()

    def tree_head(self) -> TreeHead | None:
        """What was signed last, its signature not looked at."""
        self._check_open()
        return self._layout.read_head()

    def signed_history(self) -> SignedHistory:
        """The keys of this ledger and the heads that its records tell of."""
        self._check_open()
        return self._heads.history()

    def rebuild_tiles(self, head: TreeHead) -> None:
        """Make the tiles below the signed `head` again; HeadConflictError if the records do not lead to its root."""
        self._check_writable()
        self._heads.rebuild_tiles(head)

    def use_places(self, hints: PlaceHints | None) -> None:
        """Begin reading at places that `hints` knows, if any; each is held against the segment first."""
        with self._mutex:
            self._places.hints = hints

    def known_places(self) -> list[Place]:
        """Places between batches, about one to a thousand records, of all that this handle has read; the last may be the end."""
        return self._places.marks()

    @property
    def settings(self) -> LedgerSettings:
        """The limits and intervals of this handle."""
        return self._settings

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Nobody appends, in this process or another, while this is held; all that was appended before is known."""
        with self._mutex:
            self._check_writable()
            with self._writer:
                yield

    def close(self) -> None:
        if self._appenders is not None:
            self._appenders.shutdown()
        self._heads.stop()
        with self._mutex:
            if self._closed_because:
                return
            self._closed_because = "The ledger is closed: open it again."
        try:
            self._writer.syncer.stop()
            self._writer.syncer.settle()
        finally:
            self._writer.close()

    def __enter__(self) -> FileStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def before_fork(self) -> None:
        """Let no other thread be in the middle of anything."""
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        """Let go of everything, so that the parent's locks are the parent's alone."""
        if not self._closed_because:
            self._closed_because = "The ledger was opened before fork: open it again in this process."
            self._writer.close()
        self._heads.close_in_child()
        self._appenders = None
        self._mutex.release()

    def _learn_keys(self, stream: str, key: str | None) -> None:
        """Have the keys of `stream` known if one is to be looked up."""
        if key is not None and not self._writer.journal.knows_keys(stream):
            self._writer.journal.load_keys(stream, self._stream_lines(stream))

    def _append_locked(self, stream: str, ready: Prepared, expected: int | None, key: str | None, guards: Sequence[Guard]) -> Appended:
        journal = self._writer.journal
        found = journal.find(stream, key, ready.events)
        if found is not None:
            return found
        journal.check(stream, expected, guards)
        for ref in ready.blobs:
            if not self.blobs.has(ref):
                raise BlobMissingError(ref.sha256)
        appended = self._writer.append(ready.events, stream, key, ready.meta)
        return structs.replace(appended, is_redacted=True) if ready.is_redacted else appended

    def _put_right(self) -> None:
        """Repair what a dead writer left, unless a failed sync forbids writing: then the ledger can still be read."""
        with self._mutex:
            if self._writer.is_poisoned:
                self._catch_up()
            else:
                with self._writer:
                    pass
                self._places.note(self._writer.place)

    def _catch_up(self) -> None:
        self._check_open()
        self._writer.catch_up()
        self._hold_head()
        self._places.note(self._writer.place)

    def _hold_head(self) -> None:
        """Hold the records against the head that was there at opening, once they are known."""
        self._layout.check_size(self._unheld_head, self._writer.journal.position)
        self._unheld_head = None

    def _stream_lines(self, stream: str) -> Iterator[Lines]:
        """All lines so far of the segments that `stream` is in."""
        head = self._writer.journal.streams.get(stream)
        return self._reader.walk_segments([] if head is None else head.segments, self._writer.journal.position)

    def _lines(self, start: int, stop: int | None, walk: Callable[[Place, int, int], Iterator[T]]) -> Iterator[T]:
        start = max(start, 0)
        with self._mutex:
            if stop is None or self._can_write:
                self._catch_up()
                end = self._writer.journal.position
                stop = end if stop is None else min(stop, end)
            self._check_open()
            place = self._places.before(start, self._writer.place.segment)
        return walk(place, start, stop)

    def _check_open(self) -> None:
        if self._closed_because:
            raise LedgerClosedError(self._closed_because)

    def _check_writable(self) -> None:
        self._check_open()
        if not self._can_write:
            raise ReadOnlyLedgerError(f"{self.path} was opened for reading: open it with write=True to append.")
