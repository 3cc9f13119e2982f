"""The verdict as a pure function of gates and evidence, so that anyone can derive it again.

    approved          every hard gate passed, there is at least one, and all evidence was admitted
    waiver_required   something is violated, and all that is violated may be waived
    rejected          something is violated that may not be waived, or there is no hard gate

A hard gate without conclusive evidence is violated: what is missing never approves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import asdict, field, frozen, validators

from kd.artifacts import Artifact
from kd.evidence import GateResult, GateSet, Purpose

__all__ = ["Evidence", "GateStatus", "Refusal", "Status", "Subject", "Verdict", "Violation", "derive", "is_evidence", "subjects_of"]

Status = Literal["approved", "waiver_required", "rejected"]

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
class Verdict:
    """What follows from the gates; equal inputs give an equal id."""

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
    digest = hashlib.sha256(_canonical(["kd.verdict/1", purpose, candidate, gate_set, results, admitted, refused])).digest()
    return Verdict(
        id=f"CAWS-VERDICT-{base64.b32encode(digest).decode()[:16]}",
        status=_status(violations),
        purpose=purpose,
        gate_set=f"{gate_set.name}/{gate_set.version}",
        candidate=tuple(candidate),
        gates=tuple(GateStatus(id=result.gate.id, level=result.gate.level, status=result.status) for result in results),
        violations=violations,
        evidence=tuple(admitted),
        inputs_sha256=digest.hex(),
    )


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


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=asdict).encode()
