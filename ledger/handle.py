"""A state machine that lives in a stream: its state is the fold of what is stored, also by other processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ledger.decider import Decider, fold
from ledger.errors import VersionConflictError
from ledger.record import Guard, Meta, Record
from ledger.store import NO_META, Store

__all__ = ["Live"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
W = TypeVar("W")


class Live(Generic[C, S, E, W]):
    """The machine of `stream`, safe from any thread. `guards` go along with every append."""

    def __init__(self, store: Store, stream: str, decider: Decider[C, S, E, W], guards: Sequence[Guard] = (), *, retries: int = 16) -> None:
        self._store = store
        self._stream = stream
        self._decider = decider
        self._guards = tuple(guards)
        self._retries = retries
        self._mutex = threading.RLock()
        self._state = decider.initial
        self._version = 0
        self._position = 0
        self._keys: set[str] = set()
        self.refresh()

    @property
    def state(self) -> S:
        """As of the last refresh or command."""
        return self._state

    @property
    def version(self) -> int:
        """Number of records of the stream that are in `state`."""
        return self._version

    def refresh(self) -> S:
        """Fold in what has been appended since; the state."""
        with self._mutex:
            if self._store.version(self._stream) > self._version:
                events: list[Any] = []
                for record in self._new_records():
                    assert record.version == self._version + len(events)
                    events.append(record.event)
                    if record.key is not None:
                        self._keys.add(record.key)
                    self._position = record.position + 1
                self._fold(events)
            return self._state

    def handle(self, command: C, *, key: str | None = None, meta: Meta = NO_META) -> S:
        """Decide `command` and append the events; the state behind them.

        Raises CommandRejectedError, with nothing appended. If another process is first, the command is decided again. A `key`
        that stands in the stream says that this was done before: nothing is decided, as the state may allow it no more.
        """
        with self._mutex:
            for attempt in range(self._retries + 1):
                state = self.refresh()
                if key in self._keys:
                    return state
                events = tuple(self._decider.decide(command, state))
                if not events:
                    return state
                try:
                    appended = self._store.append(self._stream, events, expected=self._version, key=key, guards=self._guards, meta=meta)
                except VersionConflictError as error:
                    if error.stream != self._stream or attempt == self._retries:
                        raise
                    continue
                if appended.is_duplicate or appended.is_redacted:
                    return self.refresh()  # the state is that of what is stored
                self._fold(events)
                self._position = appended.last + 1
                if key is not None:
                    self._keys.add(key)
                return self._state
        raise AssertionError("the loop returns or raises")

    def _new_records(self) -> Iterator[Record]:
        """Those of the stream behind the last one folded; all of them are found by stream, a few by position."""
        if self._version == 0:
            return self._store.read(self._stream)
        return self._store.scan(start=self._position, streams=self._stream)

    def _fold(self, events: Iterable[E]) -> None:
        given = tuple(events)
        self._state = fold(self._decider, given, self._state)
        self._version += len(given)
