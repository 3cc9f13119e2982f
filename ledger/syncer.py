"""One flush for everyone who waits: what has been written is brought to the medium, outside any lock of the ledger.

A thread that needs its bytes on disk waits for a flush that began after it wrote; the first to come flushes for all.
Metrics only mark the file as dirty, and a thread of the handle flushes it soon after. A flush that failed is never
tried again: the system may call the lost pages clean.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from ledger.disk import Disk
from ledger.errors import PoisonedError, WriteError

__all__ = ["Syncer"]


class Syncer:
    """Flushes the file a handle appends to."""

    def __init__(self, disk: Disk, delay_seconds: float, on_failure: Callable[[OSError], None], is_marked: Callable[[], bool]) -> None:
        self._disk = disk
        self._delay_seconds = delay_seconds
        self._on_failure = on_failure
        self._is_marked = is_marked
        self._mutex = threading.Lock()
        self._changed = threading.Condition(self._mutex)
        self._descriptor = -1
        self._written = 0
        self._synced = 0
        self._written_bytes = 0
        self._durable_bytes = 0
        self._is_flushing = False
        self._num_waiting = 0
        self._failure: OSError | None = None
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self._flusher: threading.Thread | None = None

    def attach(self, descriptor: int) -> None:
        """From now on the file to flush is `descriptor`; the one before must have been flushed."""
        with self._mutex:
            while self._is_flushing:
                self._wait_for_flush()
            self._descriptor = descriptor
            self._synced = self._written
            self._written_bytes = self._durable_bytes = 0

    @property
    def durable_bytes(self) -> int:
        """So many bytes of the file are known to be on the medium."""
        return self._durable_bytes

    def wrote(self, end: int) -> int:
        """The file was written up to byte `end`; the ticket with which to wait for it."""
        with self._mutex:
            self._written_bytes = end
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Return when what was written under `ticket`, and all before it, is on the medium; PoisonedError after a failed sync."""
        with self._mutex:
            while self._is_flushing and self._synced < ticket:
                self._wait_for_flush()
            self._raise_failure()
            if self._synced >= ticket:
                return
            self._is_flushing = True
        self._flush()
        self._raise_failure()

    def soon(self) -> None:
        """Have what was written flushed before long, without waiting."""
        if not self._dirty.is_set():
            self._dirty.set()
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._run, name="ledger-flusher", daemon=True)
                self._flusher.start()

    def flush(self) -> None:
        """Return when everything written so far, whoever wrote it, is on the medium."""
        with self._mutex:
            self._written += 1
            ticket = self._written
        self.wait(ticket)

    def settle(self) -> None:
        """Return when everything this handle wrote is on the medium, without a flush if it is already."""
        self.wait(self._written)

    def fail(self, error: OSError) -> None:
        """A sync has failed: nobody's wait ends well any more."""
        self._failure = self._failure or error
        self._on_failure(error)

    def stop(self) -> None:
        """End the flusher thread."""
        self._stopped.set()
        self._dirty.set()
        if self._flusher is not None:
            self._flusher.join()

    def _wait_for_flush(self) -> None:
        self._num_waiting += 1
        try:
            self._changed.wait()
        finally:
            self._num_waiting -= 1

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise PoisonedError(
                f"A sync failed ({self._failure.strerror}), so what was written last may not be on the disk: "
                "nothing more is appended; see to the disk, restart the machine and open the ledger again."
            ) from self._failure

    def _flush(self) -> None:
        target, num_bytes, is_synced = self._written, self._written_bytes, False
        try:
            self._disk.sync(self._descriptor)
            if self._is_marked():  # what was lost elsewhere may lie before what was synced here
                self._failure = OSError(errno.EIO, "that of another process")
            else:
                is_synced = True
        except OSError as error:
            self.fail(error)
        finally:
            with self._mutex:
                self._is_flushing = False
                if is_synced:
                    self._synced, self._durable_bytes = target, num_bytes
                if self._num_waiting:
                    self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._dirty.wait()
            self._stopped.wait(self._delay_seconds)
            self._dirty.clear()
            try:
                self.wait(self._written)
            except WriteError:
                return  # the next append says so
