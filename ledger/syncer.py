"""One flush for everyone who waits: what has been written is brought to the medium, outside any lock of the ledger.

A thread that needs its bytes on disk waits for a flush that began after it wrote; the first to come flushes for all.
Metrics only mark the file as dirty, and a thread of the handle flushes it soon after. A flush that failed is never
tried again: the system may call the lost pages clean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ledger.disk import Disk
from ledger.errors import PoisonedError

__all__ = ["Syncer"]


class Syncer:
    """Flushes the file a handle appends to."""

    def __init__(self, disk: Disk, delay_seconds: float, on_failure: Callable[[OSError], None]) -> None:
        self._disk = disk
        self._delay_seconds = delay_seconds
        self._on_failure = on_failure
        self._mutex = threading.Lock()
        self._changed = threading.Condition(self._mutex)
        self._descriptor = -1
        self._written = 0
        self._synced = 0
        self._durable_bytes = 0
        self._is_flushing = False
        self._failure: OSError | None = None
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self._flusher: threading.Thread | None = None

    def attach(self, descriptor: int) -> None:
        """From now on the file to flush is `descriptor`; the one before must have been flushed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_flushing)
            self._descriptor = descriptor
            self._synced = self._written
            self._durable_bytes = 0

    @property
    def durable_bytes(self) -> int:
        """So many bytes of the file are known to be on the medium."""
        return self._durable_bytes

    def wrote(self) -> int:
        """Bytes were written; the ticket with which to wait for them."""
        with self._mutex:
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Return when what was written under `ticket`, and all before it, is on the medium."""
        while not self._is_done(ticket):
            self._flush()

    def soon(self) -> None:
        """Have what was written flushed before long, without waiting."""
        if not self._dirty.is_set():
            self._dirty.set()
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._run, name="ledger-flusher", daemon=True)
                self._flusher.start()

    def flush(self) -> None:
        """Return when everything written so far is on the medium."""
        self.wait(self.wrote())

    def settle(self) -> None:
        """Return when everything this handle wrote is on the medium, without a flush if it is already."""
        self.wait(self._written)

    def stop(self) -> None:
        """End the flusher thread."""
        self._stopped.set()
        self._dirty.set()
        if self._flusher is not None:
            self._flusher.join()

    def _is_done(self, ticket: int) -> bool:
        """Whether `ticket` is on the medium; False gives the caller the duty to flush."""
        with self._changed:
            while True:
                if self._failure is not None:
                    raise PoisonedError(
                        f"A sync failed ({self._failure.strerror}), so what was written last may not be on the disk: "
                        "nothing more is appended; see to the disk, restart the machine and open the ledger again."
                    ) from self._failure
                if self._synced >= ticket:
                    return True
                if not self._is_flushing:
                    self._is_flushing = True
                    return False
                self._changed.wait()

    def _flush(self) -> None:
        target, is_synced, failure, num_bytes = self._written, False, None, 0
        try:
            num_bytes = os.fstat(self._descriptor).st_size
            self._disk.sync(self._descriptor)
            is_synced = True
        except OSError as error:
            failure = error
            self._on_failure(error)
        finally:
            with self._changed:
                self._is_flushing = False
                self._failure = self._failure or failure
                if is_synced:
                    self._synced = max(self._synced, target)
                    self._durable_bytes = num_bytes
                self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._dirty.wait()
            self._stopped.wait(self._delay_seconds)
            self._dirty.clear()
            try:
                self.wait(self._written)
            except PoisonedError:
                return  # the next append says so
