"""The commands of a run. Requests come from any process; everything else from the run's owner alone."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.governance.waivers import Waiver
from kd.run.config import RunConfig
from kd.run.events import ProcessSampled, StageFailed

__all__ = [
    "AnswerRequest",
    "Command",
    "CompleteStage",
    "EndRun",
    "FailStage",
    "GrantWaiver",
    "PlanRun",
    "RequestCancel",
    "RequestPause",
    "RequestResume",
    "SampleProcess",
    "StartRun",
    "StartStage",
    "StopRun",
]


@frozen(kw_only=True)
class PlanRun:
    """Bring a run into being."""

    config: RunConfig
    config_digest: str
    stages: tuple[str, ...]
    code_digest: str
    environment: dict[str, str]


@frozen(kw_only=True)
class StartRun:
    """Begin, or take up again."""


@frozen(kw_only=True)
class StartStage:
    """Record that the stage that is due was given its inputs."""

    stage: str


@frozen(kw_only=True)
class CompleteStage:
    """Record a stage's outputs."""

    stage: str
    outputs: tuple[Artifact, ...]
    seconds: float
    verdict: str | None = None
    valid_until_ms: int | None = None


@frozen(kw_only=True)
class FailStage:
    """Record that a stage gave up; the run fails with it."""

    failure: StageFailed


@frozen(kw_only=True)
class StopRun:
    """Record that the owner stopped: as asked, or by itself with a cause."""

    cause: str = "request"
    reason: str = ""


@frozen
class EndRun:
    """Draw the conclusion of the verdict."""


@frozen(kw_only=True)
class RequestPause:
    """Ask the owner to pause."""

    reason: str
    is_now: bool = False


@frozen(kw_only=True)
class RequestCancel:
    """Ask the owner to cancel."""

    reason: str
    is_now: bool = False


@frozen(kw_only=True)
class RequestResume:
    """Say why the run is to be taken up again."""

    reason: str


@frozen(kw_only=True)
class GrantWaiver:
    """Accept what a gate found, for a while, so that the run is judged again."""

    waiver: Waiver
    now_ms: int = 0
    """So that it is known whether an approval has lapsed."""


@frozen
class AnswerRequest:
    """Accept the open request."""


@frozen(kw_only=True)
class SampleProcess:
    """Record what the owner's process uses."""

    sample: ProcessSampled


Command = (
    PlanRun
    | StartRun
    | StartStage
    | CompleteStage
    | FailStage
    | StopRun
    | EndRun
    | RequestPause
    | RequestCancel
    | RequestResume
    | GrantWaiver
    | AnswerRequest
    | SampleProcess
)
