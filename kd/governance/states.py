"""States of the governance machine, and the works they ask for."""

from __future__ import annotations

from attrs import field, frozen

from kd.artifacts import Artifact
from kd.evidence import GateResult
from kd.governance.config import GovernanceConfig
from kd.governance.verdict import Evidence, Refusal, Verdict
from kd.governance.waivers import WaiverBook

__all__ = [
    "Completed",
    "Decide",
    "DecideAgain",
    "Deliberating",
    "EvaluateGates",
    "Failed",
    "Idle",
    "Job",
    "Pleading",
    "Publish",
    "Publishing",
    "ReadEvidence",
    "Reconsidering",
    "State",
    "Trying",
    "Work",
    "Working",
]


@frozen(kw_only=True)
class Job:
    """What the stage was started with."""

    config: GovernanceConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class Idle:
    """Not started."""


@frozen(kw_only=True)
class Pleading:
    """Evidence is being read."""

    job: Job
    admitted: tuple[Evidence, ...] = ()
    refused: tuple[Refusal, ...] = ()


@frozen(kw_only=True)
class Trying:
    """Gates are being held against the evidence."""

    job: Job
    admitted: tuple[Evidence, ...]
    refused: tuple[Refusal, ...]
    results: tuple[GateResult, ...] = ()


@frozen(kw_only=True)
class Deliberating:
    """All gates are evaluated; the verdict is due."""

    job: Job
    admitted: tuple[Evidence, ...]
    refused: tuple[Refusal, ...]
    results: tuple[GateResult, ...]


@frozen(kw_only=True)
class Publishing:
    """The verdict stands and is to be handed over."""

    results: tuple[GateResult, ...]
    verdict: Verdict
    book: WaiverBook = field(factory=WaiverBook)


@frozen(kw_only=True)
class Completed:
    """The verdict is handed over."""

    outputs: tuple[Artifact, ...]
    results: tuple[GateResult, ...]
    verdict: Verdict
    book: WaiverBook = field(factory=WaiverBook)


@frozen(kw_only=True)
class Reconsidering:
    """The verdict that needs waivers was handed over, and a waiver was accepted since: it is due again."""

    results: tuple[GateResult, ...]
    verdict: Verdict
    """The one without waivers."""
    book: WaiverBook


Working = Pleading | Trying | Deliberating | Publishing | Reconsidering


@frozen(kw_only=True)
class Failed:
    """Gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool
    before: Working


State = Idle | Working | Completed | Failed


@frozen(kw_only=True)
class ReadEvidence:
    """Work: read one artifact of measurements."""

    artifact: Artifact


@frozen(kw_only=True)
class EvaluateGates:
    """Work: hold the gates against the admitted evidence."""

    config: GovernanceConfig
    artifacts: tuple[Artifact, ...]


@frozen(kw_only=True)
class Decide:
    """Work: derive the verdict."""

    job: Job
    admitted: tuple[Evidence, ...]
    refused: tuple[Refusal, ...]
    results: tuple[GateResult, ...]


@frozen
class DecideAgain:
    """Work: say what time it is, so that the verdict can be derived with the waivers that hold now."""


@frozen(kw_only=True)
class Publish:
    """Work: store the verdict."""

    verdict: Verdict


Work = ReadEvidence | EvaluateGates | Decide | DecideAgain | Publish
