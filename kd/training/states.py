"""What can be so in the training stage, and the work that is then due."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.training.config import TrainingConfig
from kd.training.events import Environment
from ledger.record import BlobRef

__all__ = [
    "Checkpoint",
    "Completed",
    "Course",
    "Failed",
    "Idle",
    "Job",
    "Prepare",
    "Preparing",
    "RunSteps",
    "Seal",
    "Sealing",
    "State",
    "StepRecord",
    "Training",
    "Underway",
    "Validate",
    "Validating",
    "Work",
    "Working",
]


@frozen(kw_only=True)
class Job:
    """What the stage was started with."""

    config: TrainingConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class StepRecord:
    """What a repetition of a step must give again."""

    step: int
    batch_digest: str
    loss_bits: str
    grad_norm_bits: str
    environment: Environment
    """Where it was executed."""


@frozen(kw_only=True)
class Checkpoint:
    """A stored state."""

    step: int
    artifact: Artifact
    is_rejected: bool = False


@frozen(kw_only=True)
class Course:
    """How far the training is."""

    job: Job
    student: Artifact
    """The untrained student."""
    plan: BlobRef
    num_val_rows: int
    term_weights: dict[str, float]
    environment: Environment
    """Of the process at work."""
    step: int = 0
    """Steps recorded."""
    validated: int = 0
    """The last step after which the student was measured."""
    num_skipped: int = 0
    """Steps skipped in a row."""
    records: tuple[StepRecord, ...] = ()
    """Steps after the oldest checkpoint kept."""
    grad_norms: tuple[float, ...] = ()
    """The last ones, for the monitor."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The last ones, oldest first."""


@frozen(kw_only=True)
class Idle:
    """Not started."""


@frozen(kw_only=True)
class Preparing:
    """Vocabulary, first weights and batches are not settled yet."""

    job: Job
    student: Artifact | None = None
    environment: Environment | None = None


@frozen(kw_only=True)
class Training:
    """Steps are open."""

    course: Course


@frozen(kw_only=True)
class Validating:
    """The student is to be measured."""

    course: Course


@frozen(kw_only=True)
class Sealing:
    """All steps are done."""

    course: Course


@frozen(kw_only=True)
class Completed:
    """The student is handed over."""

    outputs: tuple[Artifact, ...]


Underway = Training | Validating | Sealing
Working = Preparing | Underway


@frozen(kw_only=True)
class Failed:
    """Gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool
    before: Working


State = Idle | Working | Completed | Failed


@frozen(kw_only=True)
class Prepare:
    """Work: settle vocabulary, first weights and batches."""

    job: Job


@frozen(kw_only=True)
class RunSteps:
    """Work: execute the steps after the last one up to `until`."""

    course: Course
    until: int


@frozen(kw_only=True)
class Validate:
    """Work: measure the student on the validation split."""

    course: Course


@frozen(kw_only=True)
class Seal:
    """Work: write the student."""

    course: Course


Work = Prepare | RunSteps | Validate | Seal
