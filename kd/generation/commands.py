"""Commands of the generation machine: what may be asked of it."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.generation.config import GenerationConfig
from kd.generation.events import (
    AttemptEnded,
    DatasetSealed,
    LogitsCaptured,
    PlanSealed,
    ReplyReused,
    RequestRejected,
    SamplesBuilt,
    TeacherBound,
    TeacherMade,
    TeacherProbed,
)

__all__ = [
    "Command",
    "EndAttempt",
    "FailGeneration",
    "RecordLogits",
    "RecordProbe",
    "RecordSamples",
    "RecordTeacher",
    "RetryGeneration",
    "ReuseReply",
    "SealDataset",
    "SealPlan",
    "StartAttempt",
    "StartGeneration",
]


@frozen(kw_only=True)
class StartGeneration:
    """Begin."""

    config: GenerationConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class RecordTeacher:
    """The teacher is there."""

    fact: TeacherMade | TeacherBound


@frozen(kw_only=True)
class RecordProbe:
    """The teacher answered."""

    fact: TeacherProbed


@frozen(kw_only=True)
class SealPlan:
    """Fix what will be asked: `keys` in order of the plan."""

    keys: tuple[str, ...]
    fact: PlanSealed


@frozen(kw_only=True)
class StartAttempt:
    """A request is about to be sent."""

    request_key: str
    attempt: int


@frozen(kw_only=True)
class EndAttempt:
    """A request came back; `rejection` goes with a failed one."""

    fact: AttemptEnded
    rejection: RequestRejected | None = None


@frozen(kw_only=True)
class ReuseReply:
    """A recorded reply answers a request."""

    fact: ReplyReused


@frozen(kw_only=True)
class RecordSamples:
    """Samples are built."""

    fact: SamplesBuilt


@frozen(kw_only=True)
class RecordLogits:
    """A range of samples is scored."""

    fact: LogitsCaptured


@frozen(kw_only=True)
class SealDataset:
    """Data set and signal are written."""

    fact: DatasetSealed


@frozen(kw_only=True)
class FailGeneration:
    """Give up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryGeneration:
    """Take a retryable failure up again."""


Command = (
    StartGeneration
    | RecordTeacher
    | RecordProbe
    | SealPlan
    | StartAttempt
    | EndAttempt
    | ReuseReply
    | RecordSamples
    | RecordLogits
    | SealDataset
    | FailGeneration
    | RetryGeneration
)
