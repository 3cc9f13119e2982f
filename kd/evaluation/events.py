"""What can happen while a student is evaluated."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators

from kd.artifacts import Artifact
from kd.evaluation.config import EvaluationConfig, SuiteName
from kd.evidence import Measurement
from ledger.record import BlobRef
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "EvaluationCompleted",
    "EvaluationFailed",
    "EvaluationPlanned",
    "EvaluationRetried",
    "EvaluationStarted",
    "ItemEvaluated",
    "MeasurementRecorded",
    "Outcome",
    "Score",
    "ScorersSelfTested",
    "SuitePlan",
]

Outcome = Literal["completed", "truncated", "too_long", "not_finite"]
"""`truncated`: the answer reached the token limit; `too_long`: the input exceeds the model's context; `not_finite`: NaN or infinity."""


@frozen(kw_only=True)
class SuitePlan:
    """The items of one suite, each of which every arm of the suite answers."""

    suite: SuiteName
    arms: tuple[str, ...] = field(validator=validators.min_len(1))
    item_ids: tuple[str, ...]
    """In order of SHA-256(item id)."""


@frozen(kw_only=True)
class Score:
    """A sum over `count` pieces of one item: tokens, arguments, requests; its unit ends the name."""

    name: str
    total: float
    count: int = field(default=1, validator=validators.ge(0))


@frozen(kw_only=True)
class EvaluationStarted:
    """The stage began."""

    config: EvaluationConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class EvaluationPlanned:
    """The items were drawn from the held-out split."""

    suites: tuple[SuitePlan, ...]


@frozen(kw_only=True)
class ScorersSelfTested:
    """The scorers were tried on answers whose score is known, made from the planned items."""

    num_checks: int


@frozen(kw_only=True)
class ItemEvaluated:
    """One arm answered one item."""

    suite: SuiteName
    arm: str
    item_id: str
    subject: str
    """Digest of the artifact that answered."""
    outcome: Outcome
    scores: tuple[Score, ...]
    transcript: BlobRef
    """Canonical JSON: what the scores were computed from."""


@frozen(kw_only=True)
class MeasurementRecorded:
    """A number follows from the items."""

    measurement: Measurement


@frozen(kw_only=True)
class EvaluationCompleted:
    """The stage is done."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class EvaluationFailed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class EvaluationRetried:
    """The stage goes on where it failed."""


ENTRIES: tuple[Entry, ...] = (
    Entry(name="evaluation.started", cls=EvaluationStarted, durability=Durability.TRANSITION),
    Entry(name="evaluation.planned", cls=EvaluationPlanned, durability=Durability.TRANSITION),
    Entry(name="evaluation.scorers_self_tested", cls=ScorersSelfTested, durability=Durability.TRANSITION),
    Entry(name="evaluation.item_evaluated", cls=ItemEvaluated, durability=Durability.TRANSITION),
    Entry(name="evaluation.measurement_recorded", cls=MeasurementRecorded, durability=Durability.TRANSITION),
    Entry(name="evaluation.completed", cls=EvaluationCompleted, durability=Durability.TRANSITION),
    Entry(name="evaluation.failed", cls=EvaluationFailed, durability=Durability.TRANSITION),
    Entry(name="evaluation.retried", cls=EvaluationRetried, durability=Durability.TRANSITION),
)
