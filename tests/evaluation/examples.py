"""Events of an evaluation, made by hand."""

from __future__ import annotations

from kd.artifacts import Artifact, FileRef
from kd.evaluation.config import EvaluationConfig, SuiteName
from kd.evaluation.events import (
    EvaluationPlanned,
    EvaluationStarted,
    ItemEvaluated,
    Outcome,
    Score,
    ScorersSelfTested,
    SuitePlan,
)
from kd.evaluation.machine import item_order
from ledger.record import BlobRef

__all__ = ["BLOB", "CONFIG", "IDS", "INPUTS", "PLAN", "PLANNED", "STARTED", "TESTED", "item", "score"]

BLOB = BlobRef(sha256="ab" * 32, num_bytes=2)
CONFIG = EvaluationConfig(suites=("tool_use",))
INPUTS = (Artifact(kind="export", files=(FileRef(path="contract.json", blob=BLOB),)),)
IDS = tuple(sorted(("r-1", "r-2", "r-3"), key=item_order))
PLAN = SuitePlan(suite="tool_use", arms=("free", "constrained"), item_ids=IDS)
STARTED = EvaluationStarted(config=CONFIG, inputs=INPUTS, seed=7)
PLANNED = EvaluationPlanned(suites=(PLAN,))
TESTED = ScorersSelfTested(num_checks=3)


def score(name: str, total: float, count: int = 1) -> Score:
    return Score(name=name, total=total, count=count)


def item(
    item_id: str,
    *scores: Score,
    suite: SuiteName = "tool_use",
    arm: str = "free",
    outcome: Outcome = "completed",
    subject: str = "cd" * 32,
) -> ItemEvaluated:
    return ItemEvaluated(suite=suite, arm=arm, item_id=item_id, subject=subject, outcome=outcome, scores=scores, transcript=BLOB)
