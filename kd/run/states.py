"""The states of a run and the work they ask for.

Planned ─► Running ⇄ Paused          Running ─► Failed (retryable or not) ─► Running
              │  └► Pausing ─► Paused          ├► Rejected ─► Running, once a waiver was granted
              └► Cancelling ─► Cancelled       └► Succeeded ─► Running, once it lapsed and a waiver was granted
"""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.governance.waivers import Waiver
from kd.run.config import RunConfig

__all__ = [
    "Absent",
    "CancelRequest",
    "Cancelled",
    "Cancelling",
    "DrawConclusion",
    "Failed",
    "Known",
    "PauseRequest",
    "Paused",
    "Pausing",
    "Plan",
    "Planned",
    "Rejected",
    "Request",
    "RunStage",
    "RunState",
    "Running",
    "StageResult",
    "Succeeded",
    "outputs_of",
    "status_of",
]


@frozen(kw_only=True)
class StageResult:
    """A stage that ended well, and what it handed over."""

    stage: str
    outputs: tuple[Artifact, ...]
    seconds: float
    verdict: str | None
    valid_until_ms: int | None = None


@frozen(kw_only=True)
class Plan:
    """What every state of an existing run knows."""

    config: RunConfig
    stages: tuple[str, ...]
    results: tuple[StageResult, ...] = ()
    started: tuple[str, ...] = ()
    """Stages that were given their inputs."""


@frozen(kw_only=True)
class PauseRequest:
    """An unanswered wish to pause."""

    reason: str
    is_now: bool


@frozen(kw_only=True)
class CancelRequest:
    """An unanswered wish to cancel."""

    reason: str
    is_now: bool


Request = PauseRequest | CancelRequest


@frozen
class Absent:
    """No such run."""


@frozen(kw_only=True)
class Known:
    """Any existing run."""

    plan: Plan


@frozen(kw_only=True)
class Planned(Known):
    """Nothing has been done."""


@frozen(kw_only=True)
class Running(Known):
    """An owner works on it, or died at it."""

    request: Request | None = None


@frozen(kw_only=True)
class Pausing(Known):
    """The owner will stop at the next safe point."""

    reason: str
    is_now: bool


@frozen(kw_only=True)
class Paused(Known):
    """Stopped at a safe point."""

    cause: str
    reason: str


@frozen(kw_only=True)
class Cancelling(Known):
    """The owner will end the run at the next safe point."""

    reason: str
    is_now: bool


@frozen(kw_only=True)
class Cancelled(Known):
    """Ended because someone asked."""

    reason: str


@frozen(kw_only=True)
class Failed(Known):
    """A stage failed."""

    stage: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class Rejected(Known):
    """All stages ended; the verdict does not approve."""

    verdict: str
    granted: tuple[Waiver, ...] = ()
    """Since then; the next owner lets the governance stage answer them."""


@frozen(kw_only=True)
class Succeeded(Known):
    """All stages ended; the verdict approves."""

    verdict: str
    valid_until_ms: int | None = None
    """When the approval lapses; None if it does not."""
    granted: tuple[Waiver, ...] = ()
    """After it lapsed, as those of a rejected run."""


RunState = Absent | Planned | Running | Pausing | Paused | Cancelling | Cancelled | Failed | Rejected | Succeeded


@frozen(kw_only=True)
class RunStage:
    """Work: drive this stage until it ends."""

    stage: str


@frozen
class DrawConclusion:
    """Work: all stages ended; say what the verdict means for the run."""


def outputs_of(plan: Plan) -> tuple[Artifact, ...]:
    """Everything the completed stages handed over, in order."""
    return tuple(artifact for result in plan.results for artifact in result.outputs)


def status_of(state: RunState) -> str:
    """The state in one lower-case word, as people and JSON see it."""
    return type(state).__name__.lower()
