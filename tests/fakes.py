"""Stand-ins for what the runner lends to executors: ports over a folder, and a `Tell` that drives a machine in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from kd.ports import Ports
from kd.stage import Stage, Tell, Wish
from ledger.blobs import Blobs
from ledger.registry import Entry, Registry
from ledger.store import MemoryStore, Store
from ledger.testing import FixedClock

__all__ = ["Teller", "make_ports", "run_stage"]

Executor = Callable[[Any, Ports, Tell], object | None]

_MAX_WORKS = 10_000


def make_ports(tmp_path: Path, entries: Iterable[Entry] = ()) -> Ports:
    """Ports over `tmp_path`; `entries` are the kinds of events that its store in memory can hold."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    store = MemoryStore(Registry(tuple(entries)))
    return Ports(store=store, blobs=Blobs(tmp_path / "blobs"), scratch=scratch, clock=FixedClock())


class Teller:
    """A `Tell` that runs the machine of a stage in memory, safe from any thread.

    `wishes` are the answers to the first calls; after them it answers GO_ON. With a `store`, events are appended to it too.
    """

    def __init__(self, stage: Stage, *, wishes: Iterable[Wish] = (), store: Store | None = None, stream: str = "run/test") -> None:
        self.state: Any = stage.decider.initial
        self.events: list[Any] = []
        self._stage = stage
        self._wishes: Iterator[Wish] = iter(wishes)
        self._store = store
        self._stream = f"{stream}/{stage.name}"
        self._lock = threading.RLock()

    def handle(self, command: object) -> tuple[Any, ...]:
        """The events with which the machine answers `command`; CommandRejectedError changes nothing."""
        with self._lock:
            events = tuple(self._stage.decider.decide(command, self.state))
            if self._store is not None and events:
                self._store.append(self._stream, events, expected=len(self.events))
            for event in events:
                self.state = self._stage.decider.evolve(self.state, event)
            self.events.extend(events)
            return events

    def __call__(self, *commands: object) -> Wish:
        with self._lock:
            for command in commands:
                self.handle(command)
            return next(self._wishes, Wish.GO_ON)

    async def awaitable(self, *commands: object) -> Wish:
        return self(*commands)


def run_stage(stage: Stage, execute: Executor, start_command: object, ports: Ports) -> tuple[Any, tuple[Any, ...]]:
    """State and events after `execute` has done every work that the stage asks for, from `start_command` to its end."""
    tell = Teller(stage)
    tell.handle(start_command)
    for _ in range(_MAX_WORKS):
        work = stage.decider.pending(tell.state)
        if work is None or stage.outcome(tell.state) is not None:
            return tell.state, tuple(tell.events)
        command = execute(work, ports, tell)
        assert command is not None, f"the executor of {stage.name} stopped although nobody asked it to"
        tell.handle(command)
    raise AssertionError(f"stage {stage.name} did not end within {_MAX_WORKS} works")
