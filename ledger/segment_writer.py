"""The writer's side of the segment files: lock, catch up, repair, write whole, roll.

Everything here but `write_lock` itself is done under the lock. A writer that dies at any instant leaves what the next
one can finish: a torn tail goes to quarantine, an unfinished roll is rolled on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

from ledger.batches import BatchReader
from ledger.blobs import Blobs
from ledger.clock import Clock
from ledger.codec import Codec, Encoded
from ledger.disk import Disk, sync_path
from ledger.errors import (
    BlobDamagedError,
    BlobMissingError,
    CorruptError,
    TamperedError,
    WriteError,
    write_error,
)
from ledger.events import LEDGER_STREAM, LedgerRepaired, SegmentOpened, SegmentSealed
from ledger.journal import Journal
from ledger.layout import Layout, segment_name
from ledger.lines import Batch, build_batch
from ledger.places import Places, opened_segment
from ledger.record import Appended
from ledger.recovery import TornTail, judge, num_records_lost
from ledger.scanning import Place
from ledger.sealing import seal
from ledger.settings import LedgerSettings
from ledger.syncer import Syncer
from ledger.write_lock import WriteLock

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Appends to the highest segment. `journal` and `reader` stand at the same place whenever the mutex is free."""

    def __init__(
        self, layout: Layout, origin: str, codec: Codec, blobs: Blobs, settings: LedgerSettings, clock: Clock, disk: Disk, *, write: bool
    ) -> None:
        self._layout = layout
        self._codec = codec
        self._blobs = blobs
        self._settings = settings
        self._clock = clock
        self._disk = disk
        self.places = Places(layout, origin)
        self._is_stale = False
        self._segment = -1
        self._descriptor = -1
        self._lock = WriteLock(layout.lock, warn_seconds=settings.lock_warn_seconds, write=write)
        self.syncer = Syncer(disk, settings.metric_sync_seconds, self._poison, lambda: self._lock.is_marked)
        self.journal, self.reader = self._load()

    @property
    def place(self) -> Place:
        return self.reader.place

    @property
    def is_poisoned(self) -> bool:
        """Whether a failed sync, of any process, forbids writing."""
        return self._lock.is_marked

    @property
    def is_locked_here(self) -> bool:
        """Whether the thread that asks is the only writer now."""
        return self._lock.is_held_here

    def sync(self) -> None:
        """Return when everything that is visible is on the medium, whoever wrote it; a sealed segment has been since it was sealed."""
        highest = self._layout.segment_numbers()[-1]
        if self._segment == highest:
            self.syncer.flush()
            return
        descriptor = os.open(self._layout.segment(highest), os.O_RDWR)
        try:
            self._sync(descriptor)
        except OSError as error:
            raise write_error(error, f"The sync of {segment_name(highest)}") from error
        finally:
            os.close(descriptor)

    def __enter__(self) -> None:
        """Be the only writer of all processes; caught up, with what a dead writer left undone put right."""
        if not self._lock.try_acquire():
            self.catch_up(size=self._size())  # while others write, so that less is left to do when it is our turn
            self._lock.acquire()
        try:
            self._lock.check()
            size = self._size()
            if size != self.place.offset:
                self.catch_up(is_locked=True, size=size)
                if size != self.place.offset or self._segment != self.place.segment:
                    self._finish()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def catch_up(self, *, is_locked: bool = False, size: int = -1) -> None:
        """Learn what others have appended, up to the end, or to `size` bytes of the segment appended to."""
        if self._is_stale:
            self.reader.close()
            self.journal, self.reader = self._load()
        read = self.reader.read_locked if is_locked else self.reader.read
        self._is_stale = True
        while (start := self.reader.place).offset != size or start.segment != self._segment:
            lines = read()
            if not lines:
                break
            self.journal.absorb(lines, start.segment, start.offset)
        self._is_stale = False

    def append(self, events: Sequence[Encoded], stream: str, key: str | None, meta: bytes) -> Appended:
        """Number, chain and write `events`; rolls first if the segment is full."""
        if self.place.offset >= self._settings.segment_max_bytes:
            self._put([self._codec.encode(SegmentSealed(segment=self.place.segment))], LEDGER_STREAM, is_seal=True)
            self._finish()
        return self._put(events, stream, key, meta)

    def _size(self) -> int:
        """Bytes of the segment appended to; -1 if it is not the one read from."""
        if self._is_stale or self._segment != self.place.segment:
            return -1
        found = os.fstat(self._descriptor)
        if found.st_size < self.place.offset or found.st_nlink == 0:
            raise TamperedError(f"{segment_name(self._segment)} was removed or cut below what was read from it")
        return found.st_size

    def clear_old_mark(self) -> None:
        """Take away the mark of a sync that failed before the machine was last started, if what is there verifies."""
        if self._lock.is_marked_before_boot:
            try:
                self._lock.acquire()
                self.catch_up(is_locked=True)
                self._lock.clear_mark()
            finally:
                self._lock.release()

    def drop_damage(self, accepted_loss: int) -> None:
        """Move everything behind the last complete batch of the highest segment to quarantine.

        Raises CorruptError, with nothing changed, if that is not the damage or costs another number of records.
        """
        try:
            self._lock.acquire()
            self.catch_up(is_locked=True)
        except CorruptError:
            rest = self.reader.rest()
            is_open = self.place.segment == self._layout.segment_numbers()[-1]
            if not is_open or self.journal.position != self.place.position or num_records_lost(rest) != accepted_loss:
                raise
            self._layout.check_size(self._layout.read_head(), self.place.position)
            self._is_stale = False
            self._open_file()
            self._repair(TornTail(offset=self.place.offset, data=rest), "operator", accepted_loss)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close all files, whatever state they are in."""
        self.reader.close()
        self._lock.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _load(self) -> tuple[Journal, BatchReader]:
        """Journal and reader at the start of the highest segment, or of the first if its summary is not to be had."""
        segment = self._layout.segment_numbers()[-1]
        place = self.places.start(segment)
        if segment > 0:
            try:
                with self._blobs.open(opened_segment(self._layout, segment).summary, verify=True) as stream:
                    journal = Journal.from_summary(stream.read())
                if (journal.position, journal.chain) == (place.position, place.chain):
                    return journal, self._reader(place)
            except (BlobMissingError, BlobDamagedError):
                pass  # everything in a summary can be read from the segments themselves
            place = self.places.start(0)
        return Journal(place.position, place.chain), self._reader(place)

    def _reader(self, place: Place) -> BatchReader:
        return BatchReader(self._layout, place, chunk_bytes=self._settings.read_chunk_bytes, learn=self.places.learn)

    def _finish(self) -> None:
        """Repair a torn tail, go on with a roll, have the right file open for appending."""
        if self.place.offset == 0 and not self._layout.segment(self.place.segment).exists():
            self._open_next()
        torn = judge(self.reader.rest(), self.place)
        if torn is not None or self._segment < 0:
            self._layout.check_size(self._layout.read_head(), self.place.position)
        if self._segment != self.place.segment:
            self._open_file()
        if torn is not None:
            self._repair(torn, "torn", 0)

    def _open_file(self) -> None:
        segment = self.place.segment
        descriptor = os.open(self._layout.segment(segment), os.O_RDWR | os.O_APPEND)
        old, self._descriptor, self._segment = self._descriptor, descriptor, segment
        self.syncer.attach(descriptor)
        if old >= 0:
            os.close(old)

    def _repair(self, torn: TornTail, reason: Literal["torn", "operator"], num_lost_records: int) -> None:
        sha256 = hashlib.sha256(torn.data).hexdigest()
        target = self._layout.quarantine / f"{self._segment:08d}-{torn.offset}-{sha256[:16]}.bin"
        try:
            self._layout.quarantine.mkdir(exist_ok=True)
            sync_path(self._layout.root)
            self._layout.place_file(target, torn.data)
            self._truncate(torn.offset)
            self._sync(self._descriptor)
        except OSError as error:
            raise write_error(error, f"The repair of {segment_name(self._segment)}") from error
        event = LedgerRepaired(
            segment=self._segment,
            offset_bytes=torn.offset,
            num_bytes=len(torn.data),
            sha256=sha256,
            reason=reason,
            num_lost_records=num_lost_records,
        )
        self._put([self._codec.encode(event)], LEDGER_STREAM)
        self.syncer.flush()

    def _open_next(self) -> None:
        """Begin the segment that must follow the one just sealed; every step may be repeated."""
        sealed = self.place.segment - 1
        try:
            previous = seal(self._layout.segment(sealed), self.places.start(sealed), self.place, self._sync)
            summary = self._blobs.put_bytes(self.journal.summary())
            opened = self._codec.encode(SegmentOpened(segment=sealed + 1, summary=summary, previous=previous))
            batch = self._build([opened], LEDGER_STREAM)
            self._layout.place_file(self._layout.segment(sealed + 1), batch.data)
        except OSError as error:
            raise write_error(error, f"Segment {segment_name(sealed + 1)}") from error
        self.catch_up(is_locked=True)

    def _sync(self, descriptor: int) -> None:
        """Bring a segment to the medium; when that failed nobody tries again, as a second sync may succeed falsely."""
        try:
            self._disk.sync(descriptor)
        except OSError as error:
            self.syncer.fail(error)
            raise

    def _build(self, events: Sequence[Encoded], stream: str, key: str | None = None, meta: bytes = b"") -> Batch:
        return build_batch(
            events,
            position=self.journal.position,
            chain=self.journal.chain,
            stream=stream,
            version=self.journal.version(stream),
            key=key,
            time_ms=self._clock.now_ms(),
            meta=meta,
        )

    def _put(self, events: Sequence[Encoded], stream: str, key: str | None = None, meta: bytes = b"", *, is_seal: bool = False) -> Appended:
        batch, offset = self._build(events, stream, key, meta), self.place.offset
        self._write(batch, offset, stream)
        self._is_stale = True
        self.reader.place = Place(self._segment, offset + len(batch.data), batch.last + 1, batch.chain)
        appended = self.journal.appended(batch, stream, key, events, self._segment)
        if is_seal:
            self.reader.end_segment()  # whatever interrupts this, nothing is ever put behind a seal
        self._is_stale = False
        return appended

    def _write(self, batch: Batch, offset: int, stream: str) -> None:
        """Write all of `batch` at `offset`, behind the last one, or nothing of it."""
        data = batch.data
        try:
            taken = self._disk.write(self._descriptor, data)
            while taken < len(data):
                taken += self._disk.write(self._descriptor, memoryview(data)[taken:])
            if os.lseek(self._descriptor, 0, os.SEEK_END) != offset + taken:
                raise WriteError(
                    f"{segment_name(self._segment)} has another size than what was written to it: something else writes there."
                )
        except BaseException as error:
            self._cut_back(offset, len(data))
            if isinstance(error, OSError):
                num_records = batch.last - batch.first + 1
                what = f"{num_records} record{'s' if num_records > 1 else ''} of stream {stream!r}"
                raise write_error(error, f"A batch of {what}") from error
            raise

    def _cut_back(self, offset: int, num_bytes: int) -> None:
        """Leave the whole batch, found again by the next catch-up, or nothing of it."""
        found = os.fstat(self._descriptor).st_size
        if found == offset + num_bytes:
            return
        try:
            if found > offset + num_bytes:
                raise OSError(None, f"{segment_name(self._segment)} is longer than what was written to it")
            self._truncate(offset)
        except OSError as error:
            self._poison(error)

    def _truncate(self, num_bytes: int) -> None:
        """Cut the open segment; OSError also where the system says that it did and did not."""
        self._disk.truncate(self._descriptor, num_bytes)
        if (found := os.fstat(self._descriptor).st_size) != num_bytes:
            raise OSError(None, f"{segment_name(self._segment)} has {found} bytes after it was cut to {num_bytes}")

    def _poison(self, error: OSError) -> None:
        self._lock.set_mark(min(self.place.offset, self.syncer.durable_bytes), error)
