"""What the evaluation stage can be asked to do."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evaluation.config import EvaluationConfig
from kd.evaluation.events import ItemEvaluated, SuitePlan
from kd.evidence import Measurement

__all__ = [
    "Command",
    "CompleteEvaluation",
    "FailEvaluation",
    "PlanEvaluation",
    "RecordItem",
    "RecordMeasurements",
    "RecordSelfTest",
    "RetryEvaluation",
    "StartEvaluation",
]


@frozen(kw_only=True)
class StartEvaluation:
    """Begin, with everything that earlier stages handed over."""

    config: EvaluationConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class PlanEvaluation:
    """Fix the items of every suite."""

    suites: tuple[SuitePlan, ...]


@frozen(kw_only=True)
class RecordSelfTest:
    """The scorers gave every known answer its score."""

    num_checks: int


@frozen(kw_only=True)
class RecordItem:
    """One arm answered one item."""

    item: ItemEvaluated


@frozen(kw_only=True)
class RecordMeasurements:
    """What follows from the items."""

    measurements: tuple[Measurement, ...]


@frozen(kw_only=True)
class CompleteEvaluation:
    """Hand over the measurements."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class FailEvaluation:
    """Give up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryEvaluation:
    """Go on where a retryable failure stopped."""


Command = (
    StartEvaluation
    | PlanEvaluation
    | RecordSelfTest
    | RecordItem
    | RecordMeasurements
    | CompleteEvaluation
    | FailEvaluation
    | RetryEvaluation
)
