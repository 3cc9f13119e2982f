"""What can happen while a run is judged."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evidence import GateResult
from kd.governance.config import GovernanceConfig
from kd.governance.verdict import AppliedWaiver, Evidence, Refusal, Verdict
from kd.governance.waivers import Waiver
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
    "WaiverAccepted",
    "WaiverApplied",
    "WaiverRejected",
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
class WaiverAccepted:
    """The waiver counts from now on."""

    waiver: Waiver
    request: int
    """Position of the record that grants it."""
    decided_at_ms: int


@frozen(kw_only=True)
class WaiverRejected:
    """The waiver does not count."""

    id: str
    request: int
    reason: str
    decided_at_ms: int


@frozen(kw_only=True)
class WaiverApplied:
    """The verdict of the same batch rests on the waiver."""

    applied: AppliedWaiver


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
    Entry(name="governance.waiver_accepted", cls=WaiverAccepted, durability=Durability.TRANSITION),
    Entry(name="governance.waiver_rejected", cls=WaiverRejected, durability=Durability.TRANSITION),
    Entry(name="governance.waiver_applied", cls=WaiverApplied, durability=Durability.TRANSITION),
    Entry(name="governance.completed", cls=GovernanceCompleted, durability=Durability.TRANSITION),
    Entry(name="governance.failed", cls=GovernanceFailed, durability=Durability.TRANSITION),
    Entry(name="governance.retried", cls=GovernanceRetried, durability=Durability.TRANSITION),
)
