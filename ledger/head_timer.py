"""When a handle signs by itself: after so many new records, or so long after the first of them, in a thread of its own."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

from ledger.errors import HeadNotSignedWarning, LedgerError

__all__ = ["HeadTimer"]


class HeadTimer:
    """Calls `sign` when it is due; an append only says how far the ledger reaches and never waits.

    `sign` returns how many records it signed, None if there was nothing to sign; `signed_size` how many anybody signed.
    """

    def __init__(self, sign: Callable[[], int | None], signed_size: Callable[[], int], *, max_records: int, max_seconds: float) -> None:
        self._sign = sign
        self._signed_size = signed_size
        self._max_records = max_records
        self._max_seconds = max_seconds
        self._changed = threading.Condition()
        self._reached = 0
        self._signed = 0
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def reached(self, size: int) -> None:
        """The ledger has `size` records now."""
        with self._changed:
            was_idle = self._reached <= self._signed
            self._reached = max(self._reached, size)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-signer", daemon=True)
                self._thread.start()
            if was_idle or self._is_full():
                self._changed.notify_all()

    def signed(self, size: int) -> None:
        """The first `size` records need no signature any more."""
        with self._changed:
            self._signed = max(self._signed, size)

    def stop(self) -> None:
        """End the thread, after the signature it is at."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _is_full(self) -> bool:
        return self._reached - self._signed >= self._max_records

    def _run(self) -> None:
        while self._wait_until_due():
            reached = self._reached
            try:
                by_another = self._signed_size()
                size = by_another if by_another > self._signed else self._sign()
                self.signed(reached if size is None else size)
            except (LedgerError, OSError) as error:
                warnings.warn(f"The tree head that was due could not be signed: {error}", HeadNotSignedWarning, stacklevel=1)
                self.signed(reached)

    def _wait_until_due(self) -> bool:
        """Return True when a signature is due, False when there will be none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._reached > self._signed)
            self._changed.wait_for(lambda: self._is_stopped or self._is_full(), timeout=self._max_seconds)
            return not self._is_stopped
