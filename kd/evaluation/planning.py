"""Which held-out samples are asked: drawn from the test split in order of SHA-256(sample id), so that nobody chooses them."""

from __future__ import annotations

from collections.abc import Sequence

from kd.dataset.sample import Sample
from kd.errors import StageError
from kd.evaluation.config import EvaluationConfig, SuiteName
from kd.evaluation.events import SuitePlan
from kd.evaluation.machine import item_order

__all__ = ["ARMS", "plan_suites", "sample_id_of"]

ARMS: dict[SuiteName, tuple[str, ...]] = {
    "lm": ("student", "untrained", "teacher"),
    "tool_use": ("free", "constrained"),
    "speed": ("student",),
}


def plan_suites(test: Sequence[Sample], config: EvaluationConfig) -> tuple[SuitePlan, ...]:
    """The items of every suite; StageError if the test split has none for one of them."""
    return tuple(SuitePlan(suite=suite, arms=ARMS[suite], item_ids=_item_ids(suite, test, config)) for suite in config.suites)


def sample_id_of(item_id: str) -> str:
    """The sample that an item asks; an item of `speed` has its request number in front."""
    return item_id.rpartition("/")[2]


def _item_ids(suite: SuiteName, test: Sequence[Sample], config: EvaluationConfig) -> tuple[str, ...]:
    samples = [sample for sample in test if suite != "tool_use" or sample.gold_calls]
    if not samples:
        wanted = "tool-use sample with a known right call" if suite == "tool_use" else "sample"
        raise StageError(
            "plan",
            f"The test split has no {wanted}, expected at least one for suite {suite}: generate more data, or leave the suite out.",
            is_retryable=False,
        )
    ids = sorted((sample.id for sample in samples), key=item_order)
    match suite:
        case "lm":
            return tuple(ids[: config.lm.max_items])
        case "tool_use":
            return tuple(ids[: config.tool_use.max_items])
        case "speed":
            requests = [f"{number:04d}/{ids[number % len(ids)]}" for number in range(config.speed.num_requests)]
            return tuple(sorted(requests, key=item_order))
