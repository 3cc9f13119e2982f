"""The run's machine in its owner's hands: what answers a request names the request's record as its cause.

The position of a request is looked up when an answer is due, and again if another process was first, so no answer goes without it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from attrs import evolve as replace

from kd.run import commands, machine, states
from kd.run.events import (
    CancelAccepted,
    CancelRejected,
    CancelRequested,
    PauseAccepted,
    PauseRejected,
    PauseRequested,
    ResumeRequested,
    RunResumed,
    RunStarted,
)
from kd.run.stages import run_stream
from ledger.handle import Live
from ledger.record import Guard, Meta
from ledger.segments import FileStore

__all__ = ["OwnedRun"]

_REQUESTS = (PauseRequested, CancelRequested)
_ANSWERS = (PauseAccepted, PauseRejected, CancelAccepted, CancelRejected)
_BEGINNINGS = (RunStarted, RunResumed)


class _AnswerDueError(Exception):
    """What was decided answers a request, and its position is to be looked up first."""


class OwnedRun:
    """The machine of `run`, safe from any thread; `guards` go along with every append."""

    def __init__(self, store: FileStore, run: str, guards: Sequence[Guard] = ()) -> None:
        self._store = store
        self._stream = run_stream(run)
        self._mutex = threading.RLock()
        self._looked_at = -1
        """Version of the stream at which the request was looked up."""
        self._wants_cause = False
        self._live: Live[commands.Command, states.RunState, machine.Event, states.RunStage | states.DrawConclusion] = Live(
            store, self._stream, replace(machine.RUN, decide=self._decide), guards=guards
        )

    @property
    def state(self) -> states.RunState:
        """As of the last refresh or command."""
        return self._live.state

    def refresh(self) -> states.RunState:
        """Fold in what has been appended since; the state."""
        return self._live.refresh()

    def handle(self, command: commands.Command, *, key: str | None = None, meta: Meta | None = None) -> states.RunState:
        """As `Live.handle`; without `meta` the events are caused by the request that they answer, if they answer one."""
        with self._mutex:
            self._looked_at, self._wants_cause, cause = -1, meta is None, None
            while True:
                try:
                    return self._live.handle(command, key=key, meta=Meta(cause=cause) if meta is None else meta)
                except _AnswerDueError:
                    self._looked_at = self._live.version
                    cause = self._request()

    def _decide(self, command: commands.Command, state: states.RunState) -> tuple[machine.Event, ...]:
        events = machine.decide(command, state)
        is_known = not self._wants_cause or self._looked_at == self._live.version
        if not is_known and any(isinstance(event, (*_ANSWERS, *_BEGINNINGS)) for event in events):
            raise _AnswerDueError
        return events

    def _request(self) -> int | None:
        """Position of the request that waits for an answer; the wish to resume where no other one does."""
        request: int | None = None
        resume: int | None = None
        for record in self._store.read(self._stream):
            if record.version >= self._looked_at:
                break
            if isinstance(record.event, _REQUESTS):
                request = record.position
            elif isinstance(record.event, _ANSWERS):
                request = None
            elif isinstance(record.event, ResumeRequested):
                resume = record.position
            elif isinstance(record.event, _BEGINNINGS):
                resume = None
        return resume if request is None else request
