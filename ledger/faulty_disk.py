"""A disk on which one call fails, or is the last thing that the process does."""

from __future__ import annotations

import errno
import os
import threading

from ledger.disk import Disk
from ledger.errors import PoisonedError

__all__ = ["FAULTS", "Died", "FaultyDisk"]

FAULTS = {
    "write": ("full", "torn", "torn for good", "died before", "died within", "died after"),
    "sync": ("failed", "died before", "died after"),
}
"""The ways in which each kind of call can fail."""


class Died(BaseException):
    """The process would have ended here."""


class FaultyDisk(Disk):
    """A disk on which the call number `number` of one kind fails as `fault` says; None counts the calls."""

    def __init__(self, kind: str = "", number: int = -1, fault: str = "") -> None:
        self.num_calls = {"write": 0, "sync": 0}
        self._kind = kind
        self._number = number
        self._fault = fault
        self._thread = threading.get_ident()
        self._is_dead = False
        self._is_stuck = False

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        fault = self._fault_of("write")
        if fault in {"torn", "torn for good", "died within"}:
            super().write(descriptor, data[: len(data) // 2])
            self._is_stuck = fault == "torn for good"
        if fault == "died after":
            super().write(descriptor, data)
        if fault.startswith("died"):
            self._die()
        if fault:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        fault = self._fault_of("sync")
        if fault == "died after":
            super().sync(descriptor)
        if fault.startswith("died"):
            self._die()
        if fault:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)

    def truncate(self, descriptor: int, num_bytes: int) -> None:
        self._fault_of("truncate")
        if self._is_stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(descriptor, num_bytes)

    def _fault_of(self, kind: str) -> str:
        if self._is_dead:
            self._die()
        number = self.num_calls.get(kind, 0)
        self.num_calls[kind] = number + 1
        return self._fault if (kind, number) == (self._kind, self._number) else ""

    def _die(self) -> None:
        self._is_dead = True
        if threading.get_ident() == self._thread:
            raise Died
        raise PoisonedError("the process is dead")  # with which a thread of the handle ends quietly
