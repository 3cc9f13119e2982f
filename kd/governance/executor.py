"""Reads the evidence, holds the gates against it and stores the verdict."""

from __future__ import annotations

from typing import assert_never

from kd.artifacts import Artifact
from kd.evidence import Measurement, evaluate_gate, measurements_from_json
from kd.governance.commands import AdmitEvidence, Command, CompleteGovernance, IssueVerdict, Reconsider, RecordGates, RefuseEvidence
from kd.governance.machine import verdict_from
from kd.governance.states import Decide, DecideAgain, EvaluateGates, Publish, ReadEvidence, Work
from kd.governance.verdict import Evidence, Refusal, Verdict, canonical, document_of
from kd.ports import Ports
from kd.stage import Tell

__all__ = ["execute"]

_FILE = "measurements.json"


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """The command that records what `work` found; every piece takes milliseconds, so none stops half-way."""
    match work:
        case ReadEvidence():
            return _read(work, ports)
        case EvaluateGates():
            measurements = [measurement for artifact in work.artifacts for measurement in _measurements(artifact, ports)]
            return RecordGates(results=tuple(evaluate_gate(gate, measurements) for gate in work.config.gates.gates))
        case Decide():
            return IssueVerdict(verdict=verdict_from(work.job, work.admitted, work.refused, work.results))
        case DecideAgain():
            return Reconsider(now_ms=ports.clock.now_ms())
        case Publish():
            return CompleteGovernance(outputs=(_kept(work.verdict, ports),))
        case _:
            assert_never(work)


def _read(work: ReadEvidence, ports: Ports) -> AdmitEvidence | RefuseEvidence:
    artifact = work.artifact
    try:
        measurements = _measurements(artifact, ports)
    except ValueError as error:
        return RefuseEvidence(refusal=Refusal(kind=artifact.kind, digest=artifact.digest, reason=str(error)))
    return AdmitEvidence(evidence=Evidence(kind=artifact.kind, digest=artifact.digest, num_measurements=len(measurements)))


def _measurements(artifact: Artifact, ports: Ports) -> tuple[Measurement, ...]:
    """What the artifact holds; ValueError if that cannot be evidence. An altered blob is no ValueError: it stops the run."""
    if _FILE not in {file.path for file in artifact.files}:
        raise ValueError(f"The artifact {artifact.kind} has no {_FILE}, expected one.")
    measurements = measurements_from_json(ports.read_bytes(artifact.file(_FILE)))
    if not measurements:
        raise ValueError(f"The artifact {artifact.kind} holds no measurement, expected at least one.")
    return measurements


def _kept(verdict: Verdict, ports: Ports) -> Artifact:
    folder = ports.new_folder("verdict")
    (folder / "verdict.json").write_bytes(canonical(document_of(verdict)))
    return ports.keep("verdict", folder)
