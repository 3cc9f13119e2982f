"""What can happen while a run is judged."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evidence import GateResult
from kd.governance.config import GovernanceConfig
from kd.governance.verdict import Evidence, Refusal, Verdict
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "EvidenceAdmitted",
    "EvidenceRefused",
    "GateEvaluated",
    "GovernanceCompleted",
    "GovernanceFailed",
    "GovernanceRetried",
    "GovernanceStarted",
    "VerdictIssued",
]


@frozen(kw_only=True)
class GovernanceStarted:
    """The stage began."""

    config: GovernanceConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class EvidenceAdmitted:
    """Measurements were read and found sound; gates may rest on them."""

    evidence: Evidence


@frozen(kw_only=True)
class EvidenceRefused:
    """Measurements cannot be relied on, which stands against approval."""

    refusal: Refusal


@frozen(kw_only=True)
class GateEvaluated:
    """A gate was held against the evidence; the result carries the measurements it used."""

    result: GateResult


@frozen(kw_only=True)
class VerdictIssued:
    """What follows from all gates and all evidence."""

    verdict: Verdict


@frozen(kw_only=True)
class GovernanceCompleted:
    """The stage is done."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class GovernanceFailed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class GovernanceRetried:
    """The stage goes on where it failed."""


ENTRIES: tuple[Entry, ...] = (
    Entry(name="governance.started", cls=GovernanceStarted, durability=Durability.TRANSITION),
    Entry(name="governance.evidence_admitted", cls=EvidenceAdmitted, durability=Durability.TRANSITION),
    Entry(name="governance.evidence_refused", cls=EvidenceRefused, durability=Durability.TRANSITION),
    Entry(name="governance.gate_evaluated", cls=GateEvaluated, durability=Durability.TRANSITION),
    Entry(name="governance.verdict_issued", cls=VerdictIssued, durability=Durability.TRANSITION),
    Entry(name="governance.completed", cls=GovernanceCompleted, durability=Durability.TRANSITION),
    Entry(name="governance.failed", cls=GovernanceFailed, durability=Durability.TRANSITION),
    Entry(name="governance.retried", cls=GovernanceRetried, durability=Durability.TRANSITION),
)
