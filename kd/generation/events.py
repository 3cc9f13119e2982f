"""What can happen in the generation stage: the persisted contract."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from kd.artifacts import Artifact
from kd.generation.config import GenerationConfig
from ledger.record import BlobRef
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "AttemptEnded",
    "AttemptStarted",
    "DatasetSealed",
    "GenerationCompleted",
    "GenerationEvent",
    "GenerationFailed",
    "GenerationRetried",
    "GenerationStarted",
    "LogitsCaptured",
    "PlanSealed",
    "ReplyReused",
    "RequestRejected",
    "RequestsPlanned",
    "SamplesBuilt",
    "TeacherBound",
    "TeacherMade",
    "TeacherProbed",
    "TokenUsage",
]


@frozen(kw_only=True)
class GenerationStarted:
    """The stage began; these three fix everything that follows."""

    config: GenerationConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class TeacherMade:
    """The run trained its own toy teacher."""

    teacher: Artifact
    fingerprint: str
    seconds: float


@frozen(kw_only=True)
class TeacherBound:
    """Weights and tokenizer of an existing teacher were found and checked."""

    teacher: Artifact
    fingerprint: str
    seconds: float


@frozen(kw_only=True)
class TeacherProbed:
    """The teacher answered and said what it can do."""

    served_model: str
    logprobs: str
    has_prompt_scoring: bool
    grammar: str
    max_context_tokens: int | None
    seconds: float


@frozen(kw_only=True)
class RequestsPlanned:
    """A part of the plan's request keys, in order of the plan."""

    keys: tuple[str, ...]


@frozen(kw_only=True)
class PlanSealed:
    """All that will be asked is fixed."""

    plan: BlobRef
    """Canonical JSON of every planned item: its task, its request, what is right."""
    num_requests: int
    num_items: int
    """Items of the plan, those included that need no request because the right answer is known."""
    num_distinct_prompts: int


@frozen(kw_only=True)
class TokenUsage:
    """Tokens of one request, as the teacher counted them."""

    prompt_tokens: int
    output_tokens: int


@frozen(kw_only=True)
class AttemptStarted:
    """A request is about to be sent; on disk before its first byte leaves."""

    request_key: str
    attempt: int
    """Earlier attempts for the same key, from 0."""


@frozen(kw_only=True)
class AttemptEnded:
    """A request was answered or given up."""

    request_key: str
    attempt: int
    outcome: Literal["accepted", "failed", "unanswered"]
    """`unanswered`: cut short by a stop or by a teacher that is gone; the request stays open."""
    reply: BlobRef | None = None
    usage: TokenUsage | None = None
    num_sends: int
    """Times the request went over the wire within this attempt."""
    seconds: float
    provider_request_id: str = ""


@frozen(kw_only=True)
class ReplyReused:
    """A reply that the ledger already holds answers this request; nothing was sent."""

    request_key: str
    reply: BlobRef
    from_position: int
    """Position of the record that brought the reply into the ledger."""


@frozen(kw_only=True)
class RequestRejected:
    """A request that will not be answered; the data set goes without it."""

    request_key: str
    kind: str
    reason: str
    num_attempts: int


@frozen(kw_only=True)
class SamplesBuilt:
    """Replies became samples."""

    samples: BlobRef
    """The samples as JSONL, sorted by id."""
    num_samples: int
    counts: dict[str, int]
    """Samples by `<split>/<kind>`."""
    dropped: dict[str, int]
    """Items that became no sample, by reason."""
    num_right_calls: int
    num_asked_calls: int
    """Of so many replies to tool cards, `num_right_calls` held exactly the right call."""


@frozen(kw_only=True)
class LogitsCaptured:
    """The teacher's distributions over the supervised tokens of samples `first` to `first + num_samples − 1`."""

    first: int
    num_samples: int
    columns: BlobRef
    num_tokens: int
    num_forced_tokens: int
    """Tokens where a grammar left no choice; they carry no signal."""
    bytes_per_token: float
    mean_tail_mass: float
    """Mean probability outside the kept head, over tokens that were not forced."""
    seconds: float


@frozen(kw_only=True)
class DatasetSealed:
    """The data set and its signal are written and named."""

    dataset: Artifact
    signal: Artifact
    manifest_digest: str
    counts: dict[str, int]


@frozen(kw_only=True)
class GenerationCompleted:
    """The stage is done."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class GenerationFailed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class GenerationRetried:
    """A failure that another try can cure is tried again, from where it stopped."""


GenerationEvent = (
    GenerationStarted
    | TeacherMade
    | TeacherBound
    | TeacherProbed
    | RequestsPlanned
    | PlanSealed
    | AttemptStarted
    | AttemptEnded
    | ReplyReused
    | RequestRejected
    | SamplesBuilt
    | LogitsCaptured
    | DatasetSealed
    | GenerationCompleted
    | GenerationFailed
    | GenerationRetried
)

ENTRIES: tuple[Entry, ...] = (
    Entry(name="generation.started", cls=GenerationStarted, durability=Durability.TRANSITION),
    Entry(name="generation.teacher_made", cls=TeacherMade, durability=Durability.TRANSITION),
    Entry(name="generation.teacher_bound", cls=TeacherBound, durability=Durability.TRANSITION),
    Entry(name="generation.teacher_probed", cls=TeacherProbed, durability=Durability.TRANSITION),
    Entry(name="generation.requests_planned", cls=RequestsPlanned, durability=Durability.TRANSITION),
    Entry(name="generation.plan_sealed", cls=PlanSealed, durability=Durability.TRANSITION),
    Entry(name="generation.attempt_started", cls=AttemptStarted, durability=Durability.TRANSITION),
    Entry(name="generation.attempt_ended", cls=AttemptEnded, durability=Durability.TRANSITION),
    Entry(name="generation.reply_reused", cls=ReplyReused, durability=Durability.TRANSITION),
    Entry(name="generation.request_rejected", cls=RequestRejected, durability=Durability.TRANSITION),
    Entry(name="generation.samples_built", cls=SamplesBuilt, durability=Durability.TRANSITION),
    Entry(name="generation.logits_captured", cls=LogitsCaptured, durability=Durability.TRANSITION),
    Entry(name="generation.dataset_sealed", cls=DatasetSealed, durability=Durability.TRANSITION),
    Entry(name="generation.completed", cls=GenerationCompleted, durability=Durability.TRANSITION),
    Entry(name="generation.failed", cls=GenerationFailed, durability=Durability.TRANSITION),
    Entry(name="generation.retried", cls=GenerationRetried, durability=Durability.TRANSITION),
)
