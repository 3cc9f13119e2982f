"""Taking away the mark of a failed sync without restarting the machine.

After a failed sync the system may hold pages that it calls clean and never wrote. So what the disk may lack is written
once more, brought to the disk, and read back from the disk, not from memory; only if all of it verifies the mark goes.
"""

from __future__ import annotations

import os
from pathlib import Path

from ledger.disk import Disk
from ledger.errors import WriteError, write_error
from ledger.layout import Layout, segment_name
from ledger.places import start_of
from ledger.recovery import judge
from ledger.scanning import Place, scan_batches
from ledger.write_lock import WriteLock, mark_text

__all__ = ["repair_mark"]

_WARN_SECONDS = 5.0


def repair_mark(layout: Layout, origin: str, disk: Disk) -> bool:
    """Whether there was a mark, which is gone now; a lock that was removed is made again, as if it had been marked.

    Raises CorruptError if the highest segment does not verify, and WriteError if the disk does not take it again;
    then the mark stays.
    """
    if not layout.lock.exists():  # it may have been marked
        layout.place_file(layout.lock, mark_text(0, None).encode())
    lock = WriteLock(layout.lock, warn_seconds=_WARN_SECONDS, write=True)
    try:
        lock.acquire()
        if not lock.is_marked:
            return False
        segment = layout.segment_numbers()[-1]
        path, start = layout.segment(segment), start_of(layout, origin, segment)
        data = path.read_bytes()
        _verify(data, start)
        try:
            _write_again(path, data, lock.marked_offset, disk)
            found = _read_from_disk(path)
        except OSError as error:
            raise write_error(error, f"What {segment_name(segment)} may lack on the disk") from error
        if found != data:
            raise WriteError(
                f"{segment_name(segment)} reads back from the disk unlike it was written: replace the disk, and restore a backup there."
            )
        _verify(found, start)
        lock.clear_mark()
        return True
    finally:
        lock.release()
        lock.close()


def _verify(data: bytes, start: Place) -> None:
    """CorruptError unless `data` is whole batches, and behind them at most what a dead writer leaves."""
    found = scan_batches(data, start)
    if found.damage is not None:
        raise found.damage
    judge(data[found.good.offset :], found.good)


def _write_again(path: Path, data: bytes, offset: int, disk: Disk) -> None:
    mode = path.stat().st_mode & 0o777
    if not mode & 0o200:  # it was sealed, and the next segment not begun
        path.chmod(mode | 0o200)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        rest = memoryview(data)[min(offset, len(data)) :]
        while rest:
            taken = os.pwrite(descriptor, rest, len(data) - len(rest))
            rest = rest[taken:]
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
        path.chmod(mode)


def _read_from_disk(path: Path) -> bytes:
    """The file's bytes, after the system was asked to forget those it holds in memory."""
    with path.open("rb") as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return stream.read()
