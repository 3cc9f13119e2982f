"""The governance stage from stored measurements to a stored verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve as replace

from kd.artifacts import Artifact
from kd.evidence import Measurement, measurements_to_json
from kd.governance.commands import StartGovernance
from kd.governance.events import EvidenceAdmitted, EvidenceRefused, GateEvaluated, VerdictIssued
from kd.governance.executor import execute
from kd.governance.machine import STAGE, verdict_of
from kd.governance.verdict import Verdict
from kd.ports import Ports
from ledger.errors import BlobDamagedError
from tests.fakes import make_ports, run_stage
from tests.governance.examples import CONFIG, MEASUREMENTS


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    return make_ports(tmp_path)


def keep(ports: Ports, kind: str, name: str, data: bytes) -> Artifact:
    folder = ports.new_folder("keep")
    (folder / name).write_bytes(data)
    return ports.keep(kind, folder)


def evidence(ports: Ports, *measurements: Measurement) -> Artifact:
    return keep(ports, "measurements.evaluation", "measurements.json", measurements_to_json(measurements))


def judge(ports: Ports, *inputs: Artifact) -> tuple[Any, tuple[Any, ...]]:
    return run_stage(STAGE, execute, StartGovernance(config=CONFIG, inputs=inputs, seed=1), ports)


def verdict(ports: Ports, *inputs: Artifact) -> Verdict:
    found = verdict_of(judge(ports, *inputs)[0])
    assert found is not None
    return found


def test_good_evidence_is_approved_and_the_verdict_stored(ports: Ports) -> None:
    """The stage admits the evidence, evaluates every gate, issues one verdict and hands it over as canonical JSON."""
    student = keep(ports, "student", "weights.safetensors", b"w")
    measured = replace(MEASUREMENTS[0], subject=student.digest)
    state, events = judge(ports, student, evidence(ports, measured))
    kinds = [type(event) for event in events]
    assert [kinds.count(kind) for kind in (EvidenceAdmitted, GateEvaluated, VerdictIssued)] == [1, 2, 1]
    (output,) = state.outputs
    stored = json.loads(ports.read_bytes(output.file("verdict.json")))
    assert (output.kind, stored["status"], stored["id"]) == ("verdict", "approved", state.verdict.id)


def test_the_same_evidence_gives_the_same_bytes(ports: Ports) -> None:
    """A stage that is run again issues the same verdict and stores the same artifact."""
    inputs = (keep(ports, "student", "weights.safetensors", b"w"), evidence(ports, *MEASUREMENTS))
    assert judge(ports, *inputs)[0] == judge(ports, *inputs)[0]


def test_a_bad_value_is_not_approved(ports: Ports) -> None:
    """A hard gate that fails stands in the verdict with its value and its bar."""
    found = verdict(ports, evidence(ports, replace(MEASUREMENTS[0], value=6.0)))
    assert (found.status, found.violations[0].observed, found.violations[0].bar) == ("waiver_required", 6.0, 5.0)


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("measurements.json", b"", "unreadable"),
        ("measurements.json", b'{"foo":1}', "unreadable"),
        ("measurements.json", b"[]", "no measurement"),
        ("other.json", b"[]", "no measurements.json"),
    ],
)
def test_what_is_no_evidence_is_refused(ports: Ports, name: str, data: bytes, word: str) -> None:
    """Empty, unreadable or missing measurements are refused with a reason, and the run is rejected."""
    state, events = judge(ports, keep(ports, "measurements.evaluation", name, data))
    (refused,) = [event for event in events if isinstance(event, EvidenceRefused)]
    assert word in refused.refusal.reason
    assert state.verdict.status == "rejected"


def test_no_evidence_at_all_is_never_approved(ports: Ports) -> None:
    """Where nothing was measured every gate is inconclusive and the verdict does not approve."""
    found = verdict(ports, keep(ports, "student", "weights.safetensors", b"w"))
    assert found.status == "waiver_required"
    assert {gate.status for gate in found.gates} == {"inconclusive"}


def test_a_number_measured_twice_is_inconclusive(ports: Ports) -> None:
    """Two artifacts that give the same metric do not let anyone choose: the gate is inconclusive."""
    second = keep(ports, "measurements.export", "measurements.json", measurements_to_json(MEASUREMENTS))
    assert verdict(ports, evidence(ports, *MEASUREMENTS), second).status == "waiver_required"


def test_an_altered_measurement_stops_the_run(ports: Ports) -> None:
    """Evidence whose stored bytes are not what its digest says is no weak evidence but a broken ledger."""
    artifact = evidence(ports, *MEASUREMENTS)
    path = ports.blobs.path(artifact.file("measurements.json"))
    data = path.read_bytes().replace(b"4.0", b"3.0")
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(BlobDamagedError):
        judge(ports, artifact)
