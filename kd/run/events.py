"""What can happen to a run, apart from what happens inside its stages."""

from __future__ import annotations

from attrs import field, frozen

from kd.artifacts import Artifact
from kd.governance.waivers import Waiver
from kd.run.config import RunConfig
from ledger.record import BlobRef
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "CancelAccepted",
    "CancelRejected",
    "CancelRequested",
    "PauseAccepted",
    "PauseRejected",
    "PauseRequested",
    "ProcessSampled",
    "ResumeRequested",
    "RunCancelled",
    "RunFailed",
    "RunPaused",
    "RunPlanned",
    "RunRejected",
    "RunResumed",
    "RunStarted",
    "RunSucceeded",
    "StageCompleted",
    "StageFailed",
    "StageStarted",
    "WaiverGranted",
]


@frozen(kw_only=True)
class RunPlanned:
    """A run exists; nothing has been done yet."""

    config: RunConfig
    config_digest: str
    stages: tuple[str, ...]
    code_digest: str
    """SHA-256 over the sources of kd and ledger."""
    environment: dict[str, str]
    """Versions and machine facts that a reproduction needs; `unknown: <reason>` where one could not be read."""


@frozen(kw_only=True)
class RunStarted:
    """An owner began to work on the run."""


@frozen(kw_only=True)
class RunResumed:
    """An owner took up a run that was paused, had failed, or whose owner died."""


@frozen(kw_only=True)
class StageStarted:
    """A stage was given its inputs."""

    stage: str
    inputs: tuple[str, ...]
    """Digests of the artifacts of earlier stages."""


@frozen(kw_only=True)
class StageCompleted:
    """A stage handed over its outputs."""

    stage: str
    outputs: tuple[Artifact, ...]
    seconds: float
    """Wall time of the owner that finished it; earlier owners' time is in the record times."""
    verdict: str | None = None
    valid_until_ms: int | None = None
    """When the verdict lapses."""


@frozen(kw_only=True)
class StageFailed:
    """A stage gave up."""

    stage: str
    step: str
    reason: str
    is_retryable: bool
    traceback: BlobRef | None = None
    """The Python traceback, where the failure was unforeseen."""


@frozen(kw_only=True)
class RunPaused:
    """The owner stopped at a safe point: `cause` is `request`, `teacher_unavailable`, `disk` or `budget`."""

    cause: str
    reason: str


@frozen(kw_only=True)
class RunCancelled:
    """The run ended because someone asked."""

    reason: str


@frozen(kw_only=True)
class RunFailed:
    """The run ended because a stage failed."""

    stage: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RunRejected:
    """All stages ended and the verdict does not approve."""

    verdict: str


@frozen(kw_only=True)
class RunSucceeded:
    """All stages ended and the verdict approves."""

    verdict: str
    valid_until_ms: int | None = None
    """When the approval lapses; waivers can then be granted anew."""


@frozen(kw_only=True)
class ProcessSampled:
    """What the owner's process and its children used at one moment."""

    cpu_fraction: float
    """Processor time per wall time since the last sample; 2.0 is two busy cores."""
    rss_bytes: int
    num_children: int = field(default=0)
    gpu_fraction: float | None = field(default=None)
    """Share of time in which the machine's graphics processors worked, on average; None where there is none to ask."""
    gpu_bytes: int | None = field(default=None)
    """Memory in use on them, by all processes."""


@frozen(kw_only=True)
class PauseRequested:
    """Someone wants the run to stop at its next safe point."""

    reason: str
    is_now: bool = False
    """Drop what is unfinished instead of finishing it."""


@frozen(kw_only=True)
class PauseAccepted:
    """The owner will pause."""


@frozen(kw_only=True)
class PauseRejected:
    """The owner will not pause."""

    reason: str


@frozen(kw_only=True)
class CancelRequested:
    """Someone wants the run to end."""

    reason: str
    is_now: bool = False


@frozen(kw_only=True)
class CancelAccepted:
    """The owner will end the run."""


@frozen(kw_only=True)
class CancelRejected:
    """The owner will not end the run."""

    reason: str


@frozen(kw_only=True)
class ResumeRequested:
    """Someone wants the run to be taken up again; whoever does so answers by RunResumed or RunStarted."""

    reason: str


@frozen(kw_only=True)
class WaiverGranted:
    """Someone accepts, for a while, what a gate found; the governance stage answers when an owner takes up the run."""

    waiver: Waiver


ENTRIES = (
    Entry(name="run.planned", version=1, cls=RunPlanned, durability=Durability.TRANSITION),
    Entry(name="run.started", version=1, cls=RunStarted, durability=Durability.TRANSITION),
    Entry(name="run.resumed", version=1, cls=RunResumed, durability=Durability.TRANSITION),
    Entry(name="run.stage_started", version=1, cls=StageStarted, durability=Durability.TRANSITION),
    Entry(name="run.stage_completed", version=1, cls=StageCompleted, durability=Durability.TRANSITION),
    Entry(name="run.stage_failed", version=1, cls=StageFailed, durability=Durability.TRANSITION),
    Entry(name="run.paused", version=1, cls=RunPaused, durability=Durability.TRANSITION),
    Entry(name="run.cancelled", version=1, cls=RunCancelled, durability=Durability.TRANSITION),
    Entry(name="run.failed", version=1, cls=RunFailed, durability=Durability.TRANSITION),
    Entry(name="run.rejected", version=1, cls=RunRejected, durability=Durability.TRANSITION),
    Entry(name="run.succeeded", version=1, cls=RunSucceeded, durability=Durability.TRANSITION),
    Entry(name="run.process_sampled", version=1, cls=ProcessSampled, durability=Durability.METRIC),
    Entry(name="run.pause_requested", version=1, cls=PauseRequested, durability=Durability.TRANSITION),
    Entry(name="run.pause_accepted", version=1, cls=PauseAccepted, durability=Durability.TRANSITION),
    Entry(name="run.pause_rejected", version=1, cls=PauseRejected, durability=Durability.TRANSITION),
    Entry(name="run.cancel_requested", version=1, cls=CancelRequested, durability=Durability.TRANSITION),
    Entry(name="run.cancel_accepted", version=1, cls=CancelAccepted, durability=Durability.TRANSITION),
    Entry(name="run.cancel_rejected", version=1, cls=CancelRejected, durability=Durability.TRANSITION),
    Entry(name="run.resume_requested", version=1, cls=ResumeRequested, durability=Durability.TRANSITION),
    Entry(name="run.waiver_granted", version=1, cls=WaiverGranted, durability=Durability.TRANSITION),
)
