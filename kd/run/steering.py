"""How people's wishes reach a stage at work, and how its commands reach its machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from kd.run import commands, states
from kd.run.owned_run import OwnedRun
from kd.stage import Wish
from ledger.errors import CommandRejectedError
from ledger.handle import Live

__all__ = ["StageTell", "Steering"]

_POLL_SECONDS = 0.05


class Steering:
    """The owner's view of the run's stream: accepts requests and says what the run wants."""

    def __init__(self, live: OwnedRun, is_interrupted: Callable[[], bool]) -> None:
        self._live = live
        self._is_interrupted = is_interrupted
        self._lock = threading.Lock()
        self._polled = 0.0

    def wish(self) -> Wish:
        """What the run wants now; a request that was found is accepted first."""
        with self._lock:
            now = time.monotonic()
            if now - self._polled >= _POLL_SECONDS or self._is_interrupted():
                self._polled = now
                self._answer_requests()
            match self._live.state:
                case states.Pausing(is_now=is_now) | states.Cancelling(is_now=is_now):
                    return Wish.STOP_NOW if is_now else Wish.STOP
                case _:
                    return Wish.GO_ON

    def _answer_requests(self) -> None:
        self._live.refresh()
        state = self._live.state
        if isinstance(state, states.Running) and state.request is None and self._is_interrupted():
            try:
                state = self._live.handle(commands.RequestPause(reason="Ctrl-C"))
            except CommandRejectedError:  # another process asked in the same instant, and its request stands
                state = self._live.state
        if isinstance(state, states.Running) and state.request is not None:
            self._live.handle(commands.AnswerRequest())


class StageTell:
    """The `tell` port of one stage at work."""

    def __init__(self, live: Live[Any, Any, Any, Any], steering: Steering) -> None:
        self._live = live
        self._steering = steering

    def __call__(self, *commands: object) -> Wish:
        for command in commands:
            self._live.handle(command)
        return self._steering.wish()

    async def awaitable(self, *commands: object) -> Wish:
        return await asyncio.to_thread(self, *commands)
