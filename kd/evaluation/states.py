"""States of the evaluation machine, and the works they ask for."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evaluation.config import EvaluationConfig, SuiteName
from kd.evaluation.events import ItemEvaluated, SuitePlan
from kd.evidence import Measurement

__all__ = [
    "CheckScorers",
    "Checking",
    "Completed",
    "EvaluateItems",
    "Evaluating",
    "Failed",
    "Idle",
    "Job",
    "Measure",
    "Measuring",
    "Plan",
    "Planning",
    "Seal",
    "Sealing",
    "State",
    "Work",
    "Working",
]


@frozen(kw_only=True)
class Job:
    """What the stage was started with."""

    config: EvaluationConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class Idle:
    """Not started."""


@frozen(kw_only=True)
class Planning:
    """The items are not chosen yet."""

    job: Job


@frozen(kw_only=True)
class Checking:
    """The scorers have not been tried yet."""

    job: Job
    suites: tuple[SuitePlan, ...]


@frozen(kw_only=True)
class Evaluating:
    """Items are open."""

    job: Job
    suites: tuple[SuitePlan, ...]
    items: tuple[ItemEvaluated, ...] = ()


@frozen(kw_only=True)
class Measuring:
    """All items are evaluated."""

    job: Job
    suites: tuple[SuitePlan, ...]
    items: tuple[ItemEvaluated, ...]


@frozen(kw_only=True)
class Sealing:
    """The measurements are recorded."""

    job: Job
    measurements: tuple[Measurement, ...]


@frozen(kw_only=True)
class Completed:
    """The measurements are handed over."""

    outputs: tuple[Artifact, ...]
    measurements: tuple[Measurement, ...]


Working = Planning | Checking | Evaluating | Measuring | Sealing


@frozen(kw_only=True)
class Failed:
    """Gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool
    before: Working


State = Idle | Working | Completed | Failed


@frozen(kw_only=True)
class Plan:
    """Work: choose the items."""

    job: Job


@frozen(kw_only=True)
class CheckScorers:
    """Work: try the scorers on known answers."""

    suites: tuple[SuitePlan, ...]
    inputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class EvaluateItems:
    """Work: have `arm` answer the items that it has not answered."""

    job: Job
    suite: SuiteName
    arm: str
    item_ids: tuple[str, ...]


@frozen(kw_only=True)
class Measure:
    """Work: compute what follows from the items."""

    items: tuple[ItemEvaluated, ...]


@frozen(kw_only=True)
class Seal:
    """Work: store the measurements."""

    measurements: tuple[Measurement, ...]


Work = Plan | CheckScorers | EvaluateItems | Measure | Seal
