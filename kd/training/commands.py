"""What may be asked of the training stage."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from kd.artifacts import Artifact
from kd.training.config import TrainingConfig
from kd.training.events import BatchesPlanned, Environment, Metric, StepCompleted, StepSkipped, StudentInitialised, VocabularyBound

__all__ = [
    "Command",
    "CompleteTraining",
    "FailTraining",
    "RecordCheckpoint",
    "RecordPreparation",
    "RecordReproduction",
    "RecordReproductionFailure",
    "RecordStep",
    "RecordValidation",
    "RejectCheckpoint",
    "ResumeTraining",
    "RetryTraining",
    "StartTraining",
]


@frozen(kw_only=True)
class StartTraining:
    """Begin, with everything that earlier stages handed over."""

    config: TrainingConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class RecordPreparation:
    """Vocabulary, first weights and batches are settled."""

    vocabulary: VocabularyBound
    student: StudentInitialised
    batches: BatchesPlanned


@frozen(kw_only=True)
class RecordStep:
    """The step after the last one was executed."""

    event: StepCompleted | StepSkipped


@frozen(kw_only=True)
class RecordValidation:
    """The student was measured after the last step."""

    step: int
    metrics: tuple[Metric, ...]
    num_rows: int
    num_tokens: int


@frozen(kw_only=True)
class RecordCheckpoint:
    """The state after the last step is stored."""

    step: int
    checkpoint: Artifact
    position: int


@frozen(kw_only=True)
class RejectCheckpoint:
    """A checkpoint was found damaged."""

    step: int
    file: str
    reason: str


@frozen(kw_only=True)
class ResumeTraining:
    """A process begins with what is recorded."""

    checkpoint: int
    environment: Environment


@frozen(kw_only=True)
class RecordReproduction:
    """Recorded steps came out the same again."""

    first: int
    last: int
    result: Literal["bitwise", "within"]
    difference: float


@frozen(kw_only=True)
class RecordReproductionFailure:
    """A recorded step came out otherwise."""

    step: int
    field: str
    recorded: str
    found: str


@frozen(kw_only=True)
class CompleteTraining:
    """Hand over the student."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class FailTraining:
    """Give up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryTraining:
    """Go on where a retryable failure stopped."""


Command = (
    StartTraining
    | RecordPreparation
    | RecordStep
    | RecordValidation
    | RecordCheckpoint
    | RejectCheckpoint
    | ResumeTraining
    | RecordReproduction
    | RecordReproductionFailure
    | CompleteTraining
    | FailTraining
    | RetryTraining
)
