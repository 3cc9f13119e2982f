"""The lock that makes one writer of many, and the mark that stops them all after a failed sync."""

from __future__ import annotations

import fcntl
import os
import threading
import time
import warnings
from pathlib import Path

from ledger.disk import boot_id, lock_holder
from ledger.errors import LockHeldWarning, TamperedError, write_error

__all__ = ["WriteLock"]


class WriteLock:
    """This handle's own descriptor of the file `lock`."""

    def __init__(self, path: Path, *, warn_seconds: float, write: bool) -> None:
        self._path = path
        self._warn_seconds = warn_seconds
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY, 0o644)
        except FileNotFoundError as error:
            raise TamperedError(f"{path} is missing") from error
        except OSError as error:
            if not write:
                raise
            raise write_error(error, f"The lock {path}") from error

    @property
    def mark(self) -> str:
        """`io-error OFFSET ERRNO MS BOOT_ID` after a failed sync of any process, else nothing."""
        return os.pread(self._descriptor, 4096, 0).decode(errors="replace").strip() if self.is_marked else ""

    @property
    def is_marked(self) -> bool:
        return os.fstat(self._descriptor).st_size > 0

    @property
    def is_marked_before_boot(self) -> bool:
        """Whether the mark is older than the machine's last start: what was lost then is lost by now."""
        return self.is_marked and self.mark.split()[-1:] != [boot_id()]

    def acquire(self) -> None:
        """Wait, without polling, until no other handle has the lock; warns if that takes long."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            timer = threading.Timer(self._warn_seconds, self._warn)
            timer.daemon = True
            timer.start()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            finally:
                timer.cancel()

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def set_mark(self, offset: int, error: OSError) -> None:
        """Stop every process from appending: nobody knows any more what the disk holds behind `offset`."""
        text = f"io-error {offset} {error.errno or 0} {time.time_ns() // 1_000_000} {boot_id()}\n"
        try:
            os.pwrite(self._descriptor, text.encode(), 0)
            os.fsync(self._descriptor)
        except OSError as second:
            warnings.warn(f"{self._path} could not be marked ({second}): stop all writers of this ledger.", stacklevel=1)

    def clear_mark(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _warn(self) -> None:
        holder = lock_holder(self._path)
        who = "another process" if holder is None else f"process {holder}"
        text = f"{self._path} has been locked by {who} for {self._warn_seconds:g} s: if that process is stopped, let it go on or end it."
        warnings.warn(text, LockHeldWarning, stacklevel=1)
