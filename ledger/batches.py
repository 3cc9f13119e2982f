"""Complete, verified batches out of segment files, from a place on.

A reader stops behind the last complete batch: what follows may be half written. It never waits, never writes, and
hands out nothing whose position, chain hash and batch have not been verified.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from types import TracebackType

from ledger.errors import CorruptError, TamperedError
from ledger.layout import Layout, segment_name
from ledger.scanning import SEALED, Lines, Place, complete_batches, scan_batches, sealed_lines, sealed_texts

__all__ = ["BatchReader", "Learn", "Vouch"]

Learn = Callable[[Place, Lines], None]
"""Told of verified lines of whole batches, and of the place they stand at."""
Vouch = Callable[[int, Place], bool]
"""Whether all bytes of an open segment file are known to be those that were sealed; asked where reading it begins."""
_NUM_SHORT_READS = 3


class BatchReader:
    """Follows the segment files from a place on."""

    def __init__(
        self,
        layout: Layout,
        place: Place,
        *,
        chunk_bytes: int,
        only_segment: bool = False,
        learn: Learn | None = None,
        vouch: Vouch | None = None,
        whole_batches: bool = True,
        is_locked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout = layout
        self._chunk_bytes = chunk_bytes
        self._size = chunk_bytes
        self._only_segment = only_segment
        self._learn = learn
        self._vouch = vouch
        self._whole_batches = whole_batches
        self._is_locked = is_locked
        self._is_vouched = False
        self._file: int | None = None
        self._next = ""
        self._at_end = False
        self.place = place

    def read(self) -> Lines:
        """New lines of complete batches, about one chunk of one segment; nothing at the end.

        With `whole_batches=False` a batch of a sealed segment may come in several parts.

        Raises CorruptError only after a second look under the lock, as a repair may race with reading; `is_locked` says
        whether whoever reads has it already.
        """
        try:
            return self.read_locked()
        except CorruptError:
            if self._is_locked() or not self._layout.lock.exists():
                raise
            with self._layout.lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                return self.read_locked()

    def read_texts(self) -> list[bytes]:
        """The same lines without what they say, which is found out of them only where the segment is not vouched for."""
        if self._at_end or self._open() is None or not self._is_vouched:
            return [line for line, _ in self.read()]
        found = sealed_texts(self._data(self._size), self.place)
        if found is None:
            return [line for line, _ in self.read()]
        texts, self.place, kind = found
        if kind == SEALED:
            self._at_end = self._only_segment
            self.end_segment()
        return texts

    def read_locked(self) -> Lines:
        """The same, for one who holds the lock."""
        while not self._at_end:
            size = self._size
            data = self._data(size)
            if self._is_vouched:
                usual = sealed_lines(data, self.place, whole_batches=self._whole_batches)
            else:
                usual = complete_batches(data, self.place)
            if usual is not None:
                self._go_on(*usual)
                return usual[0]
            found = scan_batches(data, self.place)
            if found.complete:
                self._go_on(found.complete, found.good)
                return found.complete
            if found.damage is not None:
                raise found.damage
            if len(data) < size:
                if self._has_grown(len(data)):
                    continue
                return []
            self._size = 2 * size  # a batch is longer than a chunk, and so may be the next
        return []

    def end_segment(self) -> None:
        """Go on at the start of the next segment, which may not be there yet."""
        self.place = Place(self.place.segment + 1, 0, self.place.position, self.place.chain)
        self.close()

    def rest(self) -> bytes:
        """All bytes behind the last complete batch of the segment read from."""
        if self._open() is None:
            return b""
        assert self._file is not None
        return _read(self._file, max(os.fstat(self._file).st_size - self.place.offset, 0), self.place.offset)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _data(self, size: int) -> bytes:
        file = self._open()
        if file is None:
            return b""
        num_new = os.lseek(file, 0, os.SEEK_END) - self.place.offset
        if num_new < 0:
            found = self.place.offset + num_new
            raise TamperedError(f"{segment_name(self.place.segment)} has {found} bytes, but {self.place.offset} were read before")
        return _read(file, min(size, num_new), self.place.offset) if num_new else b""

    def _open(self) -> int | None:
        if self._file is None:
            self._next = os.fspath(self._layout.segment(self.place.segment + 1))
            try:
                self._file = self._open_segment()
            except FileNotFoundError as error:
                if self.place.offset:
                    raise TamperedError(f"segment {segment_name(self.place.segment)} is missing") from error
                return None
            self._is_vouched = self._vouch is not None and self._vouch(self._file, self.place)
        return self._file

    def _open_segment(self) -> int:
        """FileNotFoundError if the segment is not there yet, TamperedError if it has a successor and is not there."""
        try:
            return os.open(self._layout.segment(self.place.segment), os.O_RDONLY)
        except FileNotFoundError:
            if not _exists(self._next):
                raise
        try:
            return os.open(self._layout.segment(self.place.segment), os.O_RDONLY)  # both may have come just now
        except FileNotFoundError as error:
            raise TamperedError(f"segment {segment_name(self.place.segment)} is missing") from error

    def _go_on(self, lines: Lines, good: Place) -> None:
        start, self.place = self.place, good
        if 4 * (good.offset - start.offset) < self._size:
            self._size = max(self._size // 2, self._chunk_bytes)
        if self._learn is not None:
            self._learn(start, lines)
        if lines[-1][1].y == SEALED:
            self._at_end = self._only_segment
            self.end_segment()

    def _has_grown(self, num_seen: int) -> bool:
        """Whether there is more in the file after all; one that is not sealed cannot have a successor."""
        if self._file is None or not _exists(self._next):
            return False
        if os.fstat(self._file).st_size == self.place.offset + num_seen:
            raise TamperedError(f"segment {segment_name(self.place.segment)} ends without the record that seals it")
        return True


def _read(file: int, num_bytes: int, offset: int) -> bytes:
    """`num_bytes` from `offset` on, or what there is of them; OSError if the system gives fewer than the file has.

    A short read that was taken for the end of the file would make good records look like a torn tail.
    """
    data = os.pread(file, num_bytes, offset)
    for _ in range(_NUM_SHORT_READS):
        missing = min(num_bytes, os.fstat(file).st_size - offset) - len(data) if len(data) < num_bytes else 0
        if missing <= 0:
            return data
        data += os.pread(file, missing, offset + len(data))
    raise OSError(errno.EIO, f"reading from byte {offset} ended before the file did")


def _exists(path: str) -> bool:
    """Whether there is a file; asked at every idle look, where a Path would cost more than the question."""
    return os.access(path, os.F_OK)
