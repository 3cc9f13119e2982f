"""Gates, evidence and a governance run, made by hand."""

from __future__ import annotations

from kd.artifacts import Artifact, FileRef
from kd.evidence import GateRule, GateSet, Measurement, evaluate_gate
from kd.governance.config import GovernanceConfig
from kd.governance.events import EvidenceAdmitted, GateEvaluated, GovernanceStarted, VerdictIssued
from kd.governance.machine import verdict_from
from kd.governance.states import Job
from kd.governance.verdict import Evidence
from ledger.record import BlobRef

__all__ = [
    "ADMITTED",
    "CONFIG",
    "EVALUATED",
    "EVIDENCE",
    "GATES",
    "INPUTS",
    "ISSUED",
    "JOB",
    "MEASUREMENTS",
    "RESULTS",
    "STARTED",
    "STUDENT",
    "VERDICT",
    "artifact",
]


def artifact(kind: str, letter: str, path: str = "a") -> Artifact:
    return Artifact(kind=kind, files=(FileRef(path=path, blob=BlobRef(sha256=letter * 64, num_bytes=1)),))


STUDENT = artifact("student", "a")
EVIDENCE = artifact("measurements.evaluation", "b", "measurements.json")
INPUTS = (STUDENT, EVIDENCE)
GATES = GateSet(
    name="two",
    gates=(
        GateRule(id="kl", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=5.0),
        GateRule(id="speed", metric="tokens_per_second", suite="speed", rule=">=", theta=10.0, level="warn"),
    ),
)
CONFIG = GovernanceConfig(gates=GATES)
MEASUREMENTS = (Measurement(metric="kl_nats", suite="lm", slice="student", value=4.0, n=36),)
RESULTS = tuple(evaluate_gate(gate, MEASUREMENTS) for gate in GATES.gates)
STARTED = GovernanceStarted(config=CONFIG, inputs=INPUTS, seed=7)
ADMITTED = EvidenceAdmitted(evidence=Evidence(kind=EVIDENCE.kind, digest=EVIDENCE.digest, num_measurements=1))
EVALUATED = tuple(GateEvaluated(result=result) for result in RESULTS)
JOB = Job(config=CONFIG, inputs=INPUTS, seed=7)
VERDICT = verdict_from(JOB, (ADMITTED.evidence,), (), RESULTS)
ISSUED = VerdictIssued(verdict=VERDICT)
