"""The verdict as a pure function of gates and evidence, so that anyone can derive it again.

    approved               every hard gate passed, there is at least one, and all evidence was admitted
    approved_with_waivers  all that is violated is covered by waivers, until the first of them ends: kd.governance.waivers
    waiver_required        something is violated, and all that is violated may be waived
    rejected               something is violated that may not be waived, or there is no hard gate

A hard gate without conclusive evidence is violated: what is missing never approves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from attrs import asdict, field, frozen, validators

from kd.artifacts import Artifact
from kd.evidence import GateResult, GateSet, Purpose

__all__ = [
    "AppliedWaiver",
    "Evidence",
    "GateStatus",
    "Refusal",
    "Status",
    "Subject",
    "Verdict",
    "Violation",
    "canonical",
    "derive",
    "document_of",
    "is_evidence",
    "is_lapsed",
    "named_by",
    "subjects_of",
]

Status = Literal["approved", "approved_with_waivers", "waiver_required", "rejected"]

_EVIDENCE_PREFIX = "measurements."


@frozen(kw_only=True)
class Subject:
    """One artifact that is judged."""

    kind: str
    digest: str


@frozen(kw_only=True)
class Evidence:
    """Measurements that were read and found sound."""

    kind: str
    digest: str
    num_measurements: int = field(validator=validators.ge(1))


@frozen(kw_only=True)
class Refusal:
    """Measurements that cannot be relied on."""

    kind: str
    digest: str
    reason: str


@frozen(kw_only=True)
class GateStatus:
    """How one gate ended."""

    id: str
    level: Literal["hard", "warn", "report"]
    status: Literal["pass", "fail", "inconclusive"]


@frozen(kw_only=True)
class Violation:
    """Something that stands against approval."""

    gate_id: str
    """Id of the gate; `evidence` for evidence that was refused, `gate_set` for a set without a hard gate."""
    subject: str
    """What violates: metric, suite and slice of the gate, or the digest of the evidence."""
    observed: float | None
    bar: float | None
    reason: str
    is_waivable: bool


@frozen(kw_only=True)
class AppliedWaiver:
    """A waiver that covers a violation."""

    id: str
    gate_id: str
    subject: str
    """Of the violation."""
    use_number: int
    """The first verdict that a waiver helps to approve is its use 1."""
    expires_ms: int


@frozen(kw_only=True)
class Verdict:
    """What follows from the gates; equal inputs give an equal id.

    The last three fields are those of a verdict that approves with waivers. In JSON the others do without them: `document_of`.
    """

    id: str
    status: Status
    purpose: Purpose
    gate_set: str
    """Name and version."""
    candidate: tuple[Subject, ...]
    gates: tuple[GateStatus, ...]
    violations: tuple[Violation, ...]
    evidence: tuple[Evidence, ...]
    inputs_sha256: str
    """Of the canonical JSON of everything that the verdict depends on."""
    waivers: tuple[AppliedWaiver, ...] = ()
    decided_at_ms: int | None = None
    valid_until_ms: int | None = None
    """The first end of an applied waiver: from then on the verdict is lapsed."""


def derive(
    *,
    purpose: Purpose,
    candidate: Sequence[Subject],
    gate_set: GateSet,
    results: Sequence[GateResult],
    admitted: Sequence[Evidence],
    refused: Sequence[Refusal],
) -> Verdict:
    """The verdict on `candidate`; ValueError unless `results` are those of exactly the gates of `gate_set`, in order."""
    if [result.gate for result in results] != list(gate_set.gates):
        raise ValueError(
            f"{len(results)} gate results are not those of gate set {gate_set.name!r}: evaluate each of its gates once, in order."
        )
    violations = (*_refusals(refused), *_failures(results), *_emptiness(gate_set))
    digest = hashlib.sha256(canonical(["kd.verdict/1", purpose, candidate, gate_set, results, admitted, refused])).digest()
    return Verdict(
        id=named_by("VERDICT", digest),
        status=_status(violations),
        purpose=purpose,
        gate_set=f"{gate_set.name}/{gate_set.version}",
        candidate=tuple(candidate),
        gates=tuple(GateStatus(id=result.gate.id, level=result.gate.level, status=result.status) for result in results),
        violations=violations,
        evidence=tuple(admitted),
        inputs_sha256=digest.hex(),
    )


def is_lapsed(verdict: Verdict, now_ms: int) -> bool:
    """Whether an approval has ended: it holds while `now_ms` is before the first end of its waivers."""
    return verdict.valid_until_ms is not None and now_ms >= verdict.valid_until_ms


def document_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON knows it: what waivers would add is left out where none was applied."""
    more = {"waivers", "decided_at_ms", "valid_until_ms"}
    return asdict(verdict, filter=None if verdict.waivers else lambda attribute, _: attribute.name not in more)


def canonical(value: object) -> bytes:
    """`value` as JSON with sorted keys, without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=asdict).encode()


def named_by(kind: str, digest: bytes) -> str:
    """The id of what has this digest: `CAWS-VERDICT-` and 16 letters of it."""
    return f"CAWS-{kind}-{base64.b32encode(digest).decode()[:16]}"


def is_evidence(artifact: Artifact) -> bool:
    """Whether `artifact` holds measurements, rather than being judged by them."""
    return artifact.kind.startswith(_EVIDENCE_PREFIX)


def subjects_of(artifacts: Iterable[Artifact]) -> tuple[Subject, ...]:
    """Everything among `artifacts` that is judged."""
    return tuple(Subject(kind=artifact.kind, digest=artifact.digest) for artifact in artifacts if not is_evidence(artifact))


def _status(violations: Sequence[Violation]) -> Status:
    if not violations:
        return "approved"
    return "waiver_required" if all(violation.is_waivable for violation in violations) else "rejected"


def _refusals(refused: Sequence[Refusal]) -> Iterable[Violation]:
    for refusal in refused:
        yield Violation(gate_id="evidence", subject=refusal.digest, observed=None, bar=None, reason=refusal.reason, is_waivable=False)


def _failures(results: Sequence[GateResult]) -> Iterable[Violation]:
    for result in results:
        gate = result.gate
        if gate.level == "hard" and result.status != "pass":
            yield Violation(
                gate_id=gate.id,
                subject=f"{gate.metric} on {gate.suite}/{gate.slice}",
                observed=result.value,
                bar=result.bar,
                reason=result.reason,
                is_waivable=gate.is_waivable,
            )


def _emptiness(gate_set: GateSet) -> Iterable[Violation]:
    if not any(gate.level == "hard" for gate in gate_set.gates):
        reason = f"gate set {gate_set.name} has no hard gate, expected at least one"
        yield Violation(gate_id="gate_set", subject=gate_set.name, observed=None, bar=None, reason=reason, is_waivable=False)
