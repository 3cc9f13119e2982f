"""The lock that makes one writer of many, and the mark that stops them all after a failed sync."""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from ledger.disk import boot_id, lock_holder
from ledger.errors import LockHeldWarning, PoisonedError, WriteError, write_error

__all__ = ["WriteLock", "mark_text"]


class WriteLock:
    """This handle's own descriptor of the file `lock`; WriteError where a writer finds none."""

    def __init__(self, path: Path, *, warn_seconds: float, write: bool) -> None:
        self._path = path
        self._warn_seconds = warn_seconds
        self._patience = _Patience(warn_seconds, self._warn)
        self._holder = 0
        try:
            self._descriptor = os.open(path, os.O_RDWR if write else os.O_RDONLY)
        except FileNotFoundError as error:
            if write:
                raise _removed(path) from error
            self._descriptor = -1  # a copy of a ledger may lack it
        except OSError as error:
            if not write:
                raise
            raise write_error(error, f"The lock {path}") from error

    @property
    def mark(self) -> str:
        """`io-error OFFSET ERRNO MS BOOT_ID` after a failed sync of any process, else nothing."""
        text = os.pread(self._descriptor, 4096, 0).decode(errors="replace") if self.is_marked else ""
        return text.partition("\n")[0].strip()  # of two that marked at once the shorter may have left the other's end

    @property
    def marked_offset(self) -> int:
        """The byte of the open segment up to which the mark says that all is on the disk; 0 if it does not say."""
        words = self.mark.split()
        return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0

    @property
    def is_marked(self) -> bool:
        return self._descriptor >= 0 and os.lseek(self._descriptor, 0, os.SEEK_END) > 0

    def check(self) -> None:
        """PoisonedError if a sync failed, in any process; WriteError if the file was removed, as others may hold a new one then."""
        found = os.fstat(self._descriptor)
        if found.st_nlink == 0:
            raise _removed(self._path)
        if found.st_size > 0:
            raise PoisonedError(
                f"A sync failed earlier ({self.mark}), so nothing more is appended: "
                "see to the disk, restart the machine and open the ledger again."
            )

    @property
    def is_held_here(self) -> bool:
        """Whether the thread that asks has the lock."""
        return self._holder == threading.get_ident()

    @property
    def is_marked_before_boot(self) -> bool:
        """Whether the mark is older than the machine's last start: what was lost then is lost by now."""
        return self.is_marked and self.mark.split()[-1:] != [boot_id()]

    def try_acquire(self) -> bool:
        """Have the lock, unless another handle has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._holder = threading.get_ident()
        return True

    def acquire(self) -> None:
        """Wait, without polling, until no other handle has the lock; warns if that takes long."""
        if not self.try_acquire():
            self._patience.begin()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            finally:
                self._patience.end()
            self._holder = threading.get_ident()

    def release(self) -> None:
        self._holder = 0
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def set_mark(self, offset: int, error: OSError) -> None:
        """Stop every process from appending: nobody knows any more what the disk holds of the open segment behind `offset`."""
        try:
            os.pwrite(self._descriptor, mark_text(offset, error.errno).encode(), 0)
            os.fsync(self._descriptor)
        except OSError as second:
            warnings.warn(f"{self._path} could not be marked ({second}): stop all writers of this ledger.", stacklevel=1)

    def clear_mark(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)

    def close(self) -> None:
        self._patience.stop()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _warn(self) -> None:
        holder = lock_holder(self._path)
        who = "another process" if holder is None else f"process {holder}"
        text = f"{self._path} has been locked by {who} for {self._warn_seconds:g} s: if that process is stopped, let it go on or end it."
        warnings.warn(text, LockHeldWarning, stacklevel=1)


def mark_text(offset: int, number: int | None) -> str:
    """What the file says after a sync failed with the error `number`; everything before `offset` is on the disk."""
    return f"io-error {offset} {number or 0} {time.time_ns() // 1_000_000} {boot_id()}\n"


def _removed(path: Path) -> WriteError:
    return WriteError(f"{path} is missing, which keeps writers apart: end everything that writes to the ledger, then repair it with fsck.")


class _Patience:
    """Warns when one wait takes long; its thread is started at the first wait and lives as long as the handle, since waits are many."""

    def __init__(self, seconds: float, warn: Callable[[], None]) -> None:
        self._seconds = seconds
        self._warn = warn
        self._since = math.inf
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger-lock-watch", daemon=True)
            self._thread.start()

    def end(self) -> None:
        self._since = math.inf

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds / 4):
            if time.monotonic() - self._since >= self._seconds:
                self._since = math.inf
                self._warn()
