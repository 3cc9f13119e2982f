"""eventsourcing on SQLite: aggregates saved event by event, read from its log and rebuilt."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.peers.timing import NOTE, timed

__all__ = ["Subject"]

_application: Any = import_module("eventsourcing.application")
_domain: Any = import_module("eventsourcing.domain")
_BATCH = 1000


class Steps(_domain.Aggregate):  # type: ignore[misc]  # its base class is only known in the peer's environment
    """Counts steps."""

    def __init__(self) -> None:
        self.step_reached = 0

    @_domain.event("Stepped")  # type: ignore[untyped-decorator]
    def step(self, step: int, sent_ns: int, note: str) -> None:
        """One step."""
        self.step_reached = max(self.step_reached, step)


class Subject:
    """One application, and an aggregate of its own in each process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        database = str(folder / "events.sqlite")
        env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": database, "SQLITE_LOCK_TIMEOUT": "120"}
        self._app: Any = _application.Application(env=env)
        self._steps: Any = Steps()
        self._app.save(self._steps)

    def durable(self, n: int) -> dict[str, float]:
        """One event at a time, each saved before the next; the version is checked."""
        return timed(self._append, n)

    def fill(self, n: int) -> dict[str, float]:
        """Events for reading, a thousand at a time."""
        return timed(self._fill, n // _BATCH)

    def replay(self, _: int) -> dict[str, float]:
        """The application's log to domain events."""
        begin = time.perf_counter()
        count, first, step = 0, 1, 0
        while notifications := self._app.recorder.select_notifications(first, _BATCH):
            for notification in notifications:
                event = self._app.mapper.to_domain_event(notification)
                step = max(step, getattr(event, "step", 0))
            count += len(notifications)
            first = notifications[-1].id + 1
        return {"seconds": time.perf_counter() - begin, "count": count, "step": step}

    def rebuild(self, _: int) -> dict[str, float]:
        """The aggregate from its events."""
        begin = time.perf_counter()
        steps: Any = self._app.repository.get(self._steps.id)
        return {"seconds": time.perf_counter() - begin, "count": steps.version}

    def close(self) -> None:
        """Let go of the database."""
        self._app.close()

    def _append(self, number: int) -> None:
        self._steps.step(step=number, sent_ns=time.monotonic_ns(), note=NOTE)
        self._app.save(self._steps)

    def _fill(self, number: int) -> None:
        for step in range(number * _BATCH, (number + 1) * _BATCH):
            self._steps.step(step=step, sent_ns=step, note=NOTE)
        self._app.save(self._steps)
