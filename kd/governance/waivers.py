"""Waivers: what people accept for a while although a gate says no. Pure.

A waiver filters violations; it never changes a gate, a bar or a measurement. It names the worst value that is accepted, who asked,
who approved, and when it ends. Whether it holds at a moment follows from what is recorded and that moment; it is never stored.

    active    accepted, begun, not ended, and not yet used as often as it may be
    covers    active, for that gate, and the value lies between the bar and the worst accepted value
    used      by a verdict that approves because of it: a verdict that would not approve uses none
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Literal, get_args

from attrs import evolve as replace
from attrs import field, fields, frozen

from kd.governance.config import WaiverPolicy
from kd.governance.verdict import AppliedWaiver, Verdict, Violation, canonical, is_lapsed, named_by

__all__ = [
    "IMPACTS",
    "REASON_CODES",
    "Impact",
    "ReasonCode",
    "Waiver",
    "WaiverBook",
    "WaiverLimit",
    "WaiverStanding",
    "covers",
    "is_named_rightly",
    "make_waiver",
    "reaches",
    "standing_of",
    "to_waive",
    "waive",
]

ReasonCode = Literal[
    "emergency_hotfix",
    "legacy_integration",
    "experimental_feature",
    "third_party_constraint",
    "performance_critical",
    "security_patch",
    "infrastructure_limitation",
    "known_dataset_defect",
    "other",
]
Impact = Literal["low", "medium", "high", "critical"]
WaiverStanding = Literal["active", "not begun", "expired", "exhausted"]

REASON_CODES: tuple[ReasonCode, ...] = get_args(ReasonCode)
IMPACTS: tuple[Impact, ...] = get_args(Impact)


@frozen(kw_only=True)
class WaiverLimit:
    """What is accepted of one gate."""

    gate_id: str
    worst: float | None
    """The worst accepted value; None accepts that the gate is inconclusive, and no value at all."""


@frozen(kw_only=True)
class Waiver:
    """What someone accepts, why, and until when."""

    id: str
    """`CAWS-WAIVER-` and 16 letters of the SHA-256 of all the rest."""
    title: str
    limits: tuple[WaiverLimit, ...]
    reason_code: ReasonCode
    description: str
    """The reason in words."""
    mitigation: str
    """What is done about the risk meanwhile."""
    risk_owner: str
    requested_by: str
    approved_by: str
    """Somebody else."""
    created_ms: int
    expires_ms: int
    """The waiver holds before this moment, and no more at it."""
    max_uses: int = 1
    """Verdicts that it may help to approve."""
    impact: Impact = "medium"


@frozen(kw_only=True)
class WaiverBook:
    """The waivers of one judgement: those accepted, those answered, and their uses."""

    policy: WaiverPolicy = field(factory=WaiverPolicy)
    accepted: tuple[Waiver, ...] = ()
    answered: tuple[str, ...] = ()
    """Ids of all that were accepted or rejected."""
    used: tuple[AppliedWaiver, ...] = ()
    base: Verdict | None = None
    """The verdict without waivers, while one that rests on waivers stands."""

    def uses_of(self, waiver_id: str) -> int:
        """Verdicts that rest on the waiver."""
        return max((applied.use_number for applied in self.used if applied.id == waiver_id), default=0)


def make_waiver(
    *,
    title: str,
    limits: tuple[WaiverLimit, ...],
    reason_code: ReasonCode,
    description: str,
    mitigation: str,
    risk_owner: str,
    requested_by: str,
    approved_by: str,
    created_ms: int,
    expires_ms: int,
    max_uses: int = 1,
    impact: Impact = "medium",
) -> Waiver:
    """A waiver with its id; whether it can be accepted is for `acceptance_problems` to say."""
    waiver = Waiver(
        id="",
        title=title,
        limits=limits,
        reason_code=reason_code,
        description=description,
        mitigation=mitigation,
        risk_owner=risk_owner,
        requested_by=requested_by,
        approved_by=approved_by,
        created_ms=created_ms,
        expires_ms=expires_ms,
        max_uses=max_uses,
        impact=impact,
    )
    return replace(waiver, id=_id_of(waiver))


def is_named_rightly(waiver: Waiver) -> bool:
    """Whether the id is that of the content."""
    return waiver.id == _id_of(waiver)


def standing_of(waiver: Waiver, now_ms: int, uses: int) -> WaiverStanding:
    """What is so of an accepted waiver at `now_ms`, after `uses` uses."""
    if now_ms < waiver.created_ms:
        return "not begun"
    if now_ms >= waiver.expires_ms:
        return "expired"
    return "active" if uses < waiver.max_uses else "exhausted"


def covers(waiver: Waiver, violation: Violation, now_ms: int, uses: int) -> bool:
    """Whether the accepted `waiver`, used `uses` times, lets `violation` pass at `now_ms`."""
    return standing_of(waiver, now_ms, uses) == "active" and reaches(waiver, violation)


def to_waive(verdict: Verdict, book: WaiverBook, now_ms: int) -> Verdict:
    """What a new waiver would be for: the verdict that stands, or the one without waivers where that has lapsed."""
    return book.base if book.base is not None and is_lapsed(verdict, now_ms) else verdict


def waive(verdict: Verdict, book: WaiverBook, now_ms: int) -> Verdict:
    """The verdict after the waivers of `book` at `now_ms`: approved with waivers if they cover all that is violated, else as it was."""
    if verdict.status != "waiver_required":
        return verdict
    found = [_covering(violation, book, now_ms) for violation in verdict.violations]
    pairs = [(waiver, violation) for waiver, violation in zip(found, verdict.violations, strict=True) if waiver is not None]
    if len(pairs) < len(verdict.violations):
        return verdict
    applied = tuple(
        AppliedWaiver(
            id=waiver.id,
            gate_id=violation.gate_id,
            subject=violation.subject,
            use_number=book.uses_of(waiver.id) + 1,
            expires_ms=waiver.expires_ms,
        )
        for waiver, violation in pairs
    )
    digest = hashlib.sha256(canonical(["kd.verdict_with_waivers/1", verdict.inputs_sha256, applied, now_ms])).digest()
    return replace(
        verdict,
        id=named_by("VERDICT", digest),
        status="approved_with_waivers",
        inputs_sha256=digest.hex(),
        waivers=applied,
        decided_at_ms=now_ms,
        valid_until_ms=min(one.expires_ms for one in applied),
    )


def _id_of(waiver: Waiver) -> str:
    content = {attribute.name: getattr(waiver, attribute.name) for attribute in fields(Waiver) if attribute.name != "id"}
    return named_by("WAIVER", hashlib.sha256(canonical(["kd.waiver/1", _spelled(content)])).digest())


def _spelled(content: dict[str, object]) -> dict[str, object]:
    """Numbers that JSON has no word for are written as words, so that whatever people type has an id."""
    limits: Iterable[WaiverLimit] = content["limits"]  # type: ignore[assignment]  # content is by name, and this is what limits holds
    return content | {"limits": [[limit.gate_id, None if limit.worst is None else float(limit.worst).hex()] for limit in limits]}


def _covering(violation: Violation, book: WaiverBook, now_ms: int) -> Waiver | None:
    return next((waiver for waiver in book.accepted if covers(waiver, violation, now_ms, book.uses_of(waiver.id))), None)


def reaches(waiver: Waiver, violation: Violation) -> bool:
    """Whether the limit of the violated gate accepts what was observed."""
    if not violation.is_waivable:
        return False
    for limit in waiver.limits:
        if limit.gate_id == violation.gate_id:
            if violation.observed is None or violation.bar is None or limit.worst is None:
                return violation.observed is None and limit.worst is None
            low, high = sorted((violation.bar, limit.worst))
            return math.isfinite(limit.worst) and low <= violation.observed <= high
    return False
