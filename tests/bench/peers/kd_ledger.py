"""Our ledger under measurement."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from attrs import frozen

from ledger import Durability, Entry, FileStore, Registry, create_ledger, open_ledger
from ledger.errors import LedgerExistsError
from ledger.fsck import check_ledger
from tests.bench.peers.timing import NOTE, die, timed

__all__ = ["Subject"]

_BATCH = 1000


@frozen(kw_only=True)
class Stepped:
    """A metric."""

    step: int
    sent_ns: int
    note: str


@frozen(kw_only=True)
class Decided:
    """A transition of the same size."""

    step: int
    sent_ns: int
    note: str


REGISTRY = Registry(
    (
        Entry(name="bench.stepped", cls=Stepped, durability=Durability.METRIC),
        Entry(name="bench.decided", cls=Decided, durability=Durability.TRANSITION),
    )
)


class Subject:
    """One handle; each process appends to a stream of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.suppress(LedgerExistsError):
            create_ledger(folder, origin="bench.invalid/ledger", registry=REGISTRY).close()
        self._store: FileStore = open_ledger(folder, registry=REGISTRY)
        self._stream = f"run/{os.getpid()}"
        self._version = 0

    def durable(self, n: int) -> dict[str, float]:
        """Append one record at a time with its expected version, each on disk before the next."""
        return timed(lambda number: self._append(Decided(step=number, sent_ns=time.monotonic_ns(), note=NOTE)), n)

    def buffered(self, n: int) -> dict[str, float]:
        """Append one metric at a time with its expected version."""
        return timed(lambda number: self._append(Stepped(step=number, sent_ns=time.monotonic_ns(), note=NOTE)), n)

    def buffered_then_die(self, n: int) -> None:
        """The same, and a crash straight after the last acknowledgement."""
        self.buffered(n)
        die()

    def fill(self, n: int) -> dict[str, float]:
        """Records for reading, a thousand at a time."""
        return timed(self._fill, n // _BATCH)

    def replay(self, _: int) -> dict[str, float]:
        """Bytes to typed events to a state, all links checked, opening included."""
        begin = time.perf_counter()
        count = step = 0
        with open_ledger(self._folder, registry=REGISTRY, write=False) as store:
            for record in store.scan(streams="run/*"):
                event: Any = record.event
                step = max(step, event.step)
                count += 1
        return {"seconds": time.perf_counter() - begin, "count": count, "step": step}

    def verify(self, _: int) -> dict[str, float]:
        """The whole examination: chain, batches, versions, keys, Merkle root."""
        begin = time.perf_counter()
        report = check_ledger(self._folder, "full")
        assert report.is_ok, report.findings
        return {"seconds": time.perf_counter() - begin, "count": report.size}

    def count(self, _: int) -> dict[str, float]:
        """Records that are there."""
        return {"count": sum(1 for _ in self._store.scan(streams="run/*"))}

    def close(self) -> None:
        """Let go of the ledger."""
        self._store.close()

    def _append(self, event: object) -> None:
        self._version = self._store.append(self._stream, [event], expected=self._version).version

    def _fill(self, number: int) -> None:
        first = number * _BATCH
        events = [Stepped(step=step, sent_ns=step, note=NOTE) for step in range(first, first + _BATCH)]
        self._version = self._store.append(self._stream, events).version
