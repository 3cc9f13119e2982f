"""The shape that all six stages share.

A stage is a decider plus four small functions that let the runner drive it without knowing what it does:
how it ended, how far it is, and the commands for "this failed" and "try again".
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from kd.artifacts import Artifact
from ledger.decider import Decider

__all__ = ["Completed", "Failed", "Outcome", "Progress", "Stage", "Tell", "Wish"]


class Wish(enum.Enum):
    """What the run wants of a stage that is at work."""

    GO_ON = "go_on"
    STOP = "stop"
    """Stop at the next safe point, keeping what is finished."""
    STOP_NOW = "stop_now"
    """Stop at once; what is unfinished is dropped and done again."""


class Tell(Protocol):
    """Hands commands to the machine of the stage at work; safe from any thread.

    A call returns when the events are acknowledged in their durability class. An executor that is told to stop
    returns None at its next safe point.
    """

    def __call__(self, *commands: object) -> Wish:
        """Have the machine decide `commands` in order, and learn what the run wants. No command: just ask."""
        ...

    async def awaitable(self, *commands: object) -> Wish:
        """The same, for an executor that runs an event loop."""
        ...


@frozen(kw_only=True)
class Completed:
    """The stage is done; `outputs` is what it hands over."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class Failed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


Outcome = Completed | Failed


@frozen(kw_only=True)
class Progress:
    """How far a stage is: `done` of `total` pieces of the kind `unit`."""

    done: int
    total: int
    unit: str


@frozen(kw_only=True)
class Stage:
    """Everything the runner, the pipeline and the views know of a stage."""

    name: str
    decider: Decider[Any, Any, Any, Any]
    start: Callable[[Any, tuple[Artifact, ...], int], object]
    """`start(config, inputs, seed)`: the command that begins the stage; inputs are all outputs of earlier stages."""
    fail: Callable[[str, str, bool], object]
    """`fail(step, reason, is_retryable)`: the command that records a failure."""
    retry: Callable[[], object]
    """The command that takes a retryable failure up again where it stopped."""
    outcome: Callable[[Any], Outcome | None]
    """How the stage ended, or None while it has not."""
    progress: Callable[[Any], Progress | None]
    """How far the present work is, or None where it has no countable pieces."""
    executor: str
    """`module:function`, imported when the stage runs, so that a run loads torch or coremltools only when it needs them."""
