"""What can happen while a student is trained; the persisted contract of the stage."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from kd.artifacts import Artifact
from kd.training.config import TrainingConfig
from ledger.record import BlobRef
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "BatchesPlanned",
    "CheckpointRejected",
    "CheckpointSaved",
    "Environment",
    "HealthWarned",
    "LossPart",
    "Metric",
    "ReproductionFailed",
    "StepCompleted",
    "StepSkipped",
    "StepsReproduced",
    "StudentInitialised",
    "TrainingCompleted",
    "TrainingEvent",
    "TrainingFailed",
    "TrainingResumed",
    "TrainingRetried",
    "TrainingStarted",
    "ValidationCompleted",
    "VocabularyBound",
]


@frozen(kw_only=True)
class Environment:
    """What, besides the inputs, decides the last bits of a number."""

    processor: str
    instruction_set: str
    """Widest vector instructions that torch uses: `AVX2`, `AVX512` …"""
    threads: int
    torch: str
    """Version."""


@frozen(kw_only=True)
class TrainingStarted:
    """The stage began with these settings and inputs."""

    config: TrainingConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class VocabularyBound:
    """Student, data and teacher signal speak of the same token ids."""

    decision: Literal["exact"]
    tokenizer: str
    """Digest of the tokenizer."""
    num_shared: int
    """Ids that mean the same bytes on both sides."""


@frozen(kw_only=True)
class StudentInitialised:
    """The student before its first step."""

    student: Artifact
    init: Literal["random", "teacher"]
    layers: tuple[int, ...]
    """Layers taken from the teacher; empty for random weights."""
    num_params: int
    environment: Environment


@frozen(kw_only=True)
class BatchesPlanned:
    """Which rows each step sees."""

    plan: BlobRef
    num_rows: int
    """Training rows in use."""
    num_val_rows: int
    """Validation rows in use."""
    num_steps: int
    num_epochs: float
    """How often each row is seen, on average."""
    num_tokens: int
    """Tokens of all steps, prompts included."""
    num_supervised_tokens: int
    """Targets of all steps."""
    num_term_tokens: dict[str, int]
    """Targets of all steps by term of the loss."""
    term_weights: dict[str, float]
    """Weight of each term, with those that the settings left open."""
    dropped: dict[str, int]
    """Training and validation rows left out, by reason."""
    padding_fraction: float


@frozen(kw_only=True)
class LossPart:
    """One term of a step's loss."""

    name: str
    value_nats: float
    """Mean over the term's tokens."""
    weight: float
    num_tokens: int


@frozen(kw_only=True)
class StepCompleted:
    """One optimiser step."""

    step: int
    """From 1."""
    loss_nats: float
    loss_bits: str
    """The loss as 16 hex digits of a big-endian float64."""
    parts: tuple[LossPart, ...]
    num_tokens: int
    """Tokens of the step, prompts included, padding not."""
    batch_digest: str
    grad_norm: float
    """Before clipping."""
    grad_norm_bits: str
    lr: float
    seconds: float
    peak_bytes: int
    """Largest resident memory of the process so far."""


@frozen(kw_only=True)
class StepSkipped:
    """A step whose loss or gradient was not finite: no weight was changed."""

    step: int
    reason: str
    batch_digest: str
    loss_bits: str
    grad_norm_bits: str


@frozen(kw_only=True)
class Metric:
    """A mean over validation tokens."""

    name: str
    value: float


@frozen(kw_only=True)
class ValidationCompleted:
    """The student was measured on the validation split."""

    step: int
    metrics: tuple[Metric, ...]
    num_rows: int
    num_tokens: int


@frozen(kw_only=True)
class HealthWarned:
    """A monitor's limit was passed; nothing was changed."""

    step: int
    monitor: Literal["gradient_norm"]
    value: float
    limit: float


@frozen(kw_only=True)
class CheckpointSaved:
    """All that is needed to go on after `step`."""

    step: int
    checkpoint: Artifact
    position: int
    """Rows that the steps so far have taken."""


@frozen(kw_only=True)
class CheckpointRejected:
    """A checkpoint's bytes are not what they were; the one before it is used."""

    step: int
    file: str
    reason: str


@frozen(kw_only=True)
class TrainingResumed:
    """Another process took the training up."""

    step: int
    """Recorded steps."""
    checkpoint: int
    """Step of the checkpoint it starts from; 0 is the beginning."""
    environment: Environment


@frozen(kw_only=True)
class StepsReproduced:
    """Recorded steps were executed again, with the recorded result."""

    first: int
    last: int
    result: Literal["bitwise", "within"]
    """`within`: the environment differs, and so do the last bits."""
    difference: float
    """Largest relative difference of a loss or gradient norm."""


@frozen(kw_only=True)
class ReproductionFailed:
    """A recorded step was executed again, with another result."""

    step: int
    field: str
    recorded: str
    found: str


@frozen(kw_only=True)
class TrainingCompleted:
    """The student is handed over."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class TrainingFailed:
    """The stage gave up."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class TrainingRetried:
    """A retryable failure was taken up again."""


TrainingEvent = (
    TrainingStarted
    | VocabularyBound
    | StudentInitialised
    | BatchesPlanned
    | StepCompleted
    | StepSkipped
    | ValidationCompleted
    | HealthWarned
    | CheckpointSaved
    | CheckpointRejected
    | TrainingResumed
    | StepsReproduced
    | ReproductionFailed
    | TrainingCompleted
    | TrainingFailed
    | TrainingRetried
)

ENTRIES: tuple[Entry, ...] = (
    Entry(name="training.started", cls=TrainingStarted),
    Entry(name="training.vocabulary_bound", cls=VocabularyBound),
    Entry(name="training.student_initialised", cls=StudentInitialised),
    Entry(name="training.batches_planned", cls=BatchesPlanned),
    Entry(name="training.step_completed", cls=StepCompleted, durability=Durability.METRIC),
    Entry(name="training.step_skipped", cls=StepSkipped),
    Entry(name="training.validation_completed", cls=ValidationCompleted),
    Entry(name="training.health_warned", cls=HealthWarned),
    Entry(name="training.checkpoint_saved", cls=CheckpointSaved),
    Entry(name="training.checkpoint_rejected", cls=CheckpointRejected),
    Entry(name="training.resumed", cls=TrainingResumed),
    Entry(name="training.steps_reproduced", cls=StepsReproduced),
    Entry(name="training.reproduction_failed", cls=ReproductionFailed),
    Entry(name="training.completed", cls=TrainingCompleted),
    Entry(name="training.failed", cls=TrainingFailed),
    Entry(name="training.retried", cls=TrainingRetried),
)
