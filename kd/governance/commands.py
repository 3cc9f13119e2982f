"""What the governance stage can be asked to do."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evidence import GateResult
from kd.governance.config import GovernanceConfig
from kd.governance.verdict import Evidence, Refusal, Verdict
from kd.governance.waivers import Waiver

__all__ = [
    "AdmitEvidence",
    "AnswerWaiver",
    "Command",
    "CompleteGovernance",
    "FailGovernance",
    "IssueVerdict",
    "Reconsider",
    "RecordGates",
    "RefuseEvidence",
    "RetryGovernance",
    "StartGovernance",
]


@frozen(kw_only=True)
class StartGovernance:
    """Begin, with everything that earlier stages handed over."""

    config: GovernanceConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class AdmitEvidence:
    """Let gates rest on measurements that were read and found sound."""

    evidence: Evidence


@frozen(kw_only=True)
class RefuseEvidence:
    """Let no gate rest on measurements."""

    refusal: Refusal


@frozen(kw_only=True)
class RecordGates:
    """How all gates ended, in the order of the gate set."""

    results: tuple[GateResult, ...]


@frozen(kw_only=True)
class IssueVerdict:
    """What follows from gates and evidence."""

    verdict: Verdict


@frozen(kw_only=True)
class AnswerWaiver:
    """Accept or reject the waiver that someone granted."""

    waiver: Waiver
    request: int
    """Position of the record that grants it."""
    now_ms: int


@frozen(kw_only=True)
class Reconsider:
    """Decide again, with the waivers accepted so far."""

    now_ms: int


@frozen(kw_only=True)
class CompleteGovernance:
    """Hand over the verdict."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class FailGovernance:
    """Give up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryGovernance:
    """Go on where a retryable failure stopped."""


Command = (
    StartGovernance
    | AdmitEvidence
    | RefuseEvidence
    | RecordGates
    | IssueVerdict
    | AnswerWaiver
    | Reconsider
    | CompleteGovernance
    | FailGovernance
    | RetryGovernance
)
