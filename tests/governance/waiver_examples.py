"""A judgement that needs a waiver, and one that fits."""

from __future__ import annotations

from typing import Any

from attrs import evolve as replace

from kd.evidence import GateResult, GateRule, GateSet, evaluate_gate
from kd.governance.config import GovernanceConfig
from kd.governance.events import GateEvaluated, GovernanceCompleted, GovernanceStarted, VerdictIssued
from kd.governance.machine import verdict_from
from kd.governance.states import Job
from kd.governance.verdict import Verdict
from kd.governance.waivers import Waiver, WaiverLimit, make_waiver
from tests.governance.examples import ADMITTED, GATES, INPUTS, MEASUREMENTS, STUDENT

__all__ = ["DAY_MS", "HELD_UP", "MITIGATION", "NEEDY", "NOW_MS", "needy", "waiver"]

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
MITIGATION = "The old student keeps serving, and both are compared each morning by hand."


def waiver(gate: str = "kl", worst: float | None = 6.0, **other: Any) -> Waiver:
    """A waiver of one gate that nothing is wrong with."""
    settings: dict[str, Any] = {
        "title": "slow learner",
        "limits": (WaiverLimit(gate_id=gate, worst=worst),),
        "reason_code": "known_dataset_defect",
        "description": "the test split holds doubled prompts",
        "mitigation": MITIGATION,
        "risk_owner": "cleo",
        "requested_by": "ana",
        "approved_by": "bo",
        "created_ms": NOW_MS,
        "expires_ms": NOW_MS + 12 * DAY_MS,
    }
    return make_waiver(**(settings | other))


def needy(*gates: GateRule) -> tuple[Job, tuple[GateResult, ...], Verdict]:
    """Job, results and verdict where the student's KL, on n = 36, is 6.0 nats."""
    measured = (replace(MEASUREMENTS[0], value=6.0),)
    gate_set = GateSet(name="strict", gates=(GATES.gates[0], *gates))
    job = Job(config=GovernanceConfig(gates=gate_set), inputs=INPUTS, seed=7)
    results = tuple(evaluate_gate(gate, measured) for gate in gate_set.gates)
    return job, results, verdict_from(job, (ADMITTED.evidence,), (), results)


_JOB, _RESULTS, NEEDY = needy()
HELD_UP = (
    GovernanceStarted(config=_JOB.config, inputs=INPUTS, seed=7),
    ADMITTED,
    *(GateEvaluated(result=result) for result in _RESULTS),
    VerdictIssued(verdict=NEEDY),
    GovernanceCompleted(outputs=(STUDENT,)),
)
"""The governance stage of a run that waits for a waiver of gate `kl`, whose value 6.0 should be 5.0 at most."""
