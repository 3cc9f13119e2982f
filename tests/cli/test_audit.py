"""`kd audit` believes a whole run and finds every kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd.cli.app import run_command


def _audit(ledger: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, set[str]]]:
    """The exit code, and the finding codes of each level that has any."""
    code = run_command(["audit", "latest", "--json", "--ledger", str(ledger)])
    report = json.loads(capsys.readouterr().out)
    return code, {level["level"]: {f["code"] for f in level["findings"]} for level in report.get("levels", ()) if level["findings"]}


def _student_blob(ledger: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run_command(["events", "latest", "--json", "--type", "training.completed", "--ledger", str(ledger)]) == 0
    outputs = json.loads(capsys.readouterr().out)["event"]["outputs"]
    files = next(output["files"] for output in outputs if output["kind"] == "student")
    digest = next(file["blob"]["sha256"] for file in files if file["path"] == "weights.safetensors")
    return ledger / "blobs" / "sha256" / digest[:2] / digest


def test_a_whole_run_passes(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An undamaged run is what its ledger says."""
    assert _audit(finished_ledger, capsys) == (0, {})


def test_a_missing_blob_is_found(copied_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that are gone exit with 5."""
    _student_blob(copied_ledger, capsys).unlink()
    code, found = _audit(copied_ledger, capsys)
    assert code == 5
    assert "blob_missing" in found["blobs"]


def test_a_changed_blob_is_found(copied_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One flipped bit in the weights exits with 5."""
    blob = _student_blob(copied_ledger, capsys)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    code, found = _audit(copied_ledger, capsys)
    assert code == 5
    assert "blob_damaged" in found["blobs"]


def test_an_altered_line_is_found_by_every_command(copied_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A verdict edited by hand breaks the chain: nothing reads on, and the exit code is 5."""
    segment = copied_ledger / "seg" / "00000000.jsonl"
    text = segment.read_bytes()
    assert b'"kl_nats"' in text
    segment.chmod(0o644)
    segment.write_bytes(text.replace(b'"kl_nats"', b'"lk_nats"', 1))
    for arguments in (["audit", "latest"], ["show", "latest"], ["runs"], ["replay", "latest"]):
        assert run_command([*arguments, "--ledger", str(copied_ledger)]) == 5
        printed = capsys.readouterr()
        assert "00000000" in printed.out + printed.err


def test_a_torn_last_line_loses_nothing(copied_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a line at the end, as a crash leaves it, is passed over by readers and the run reads as before."""
    assert run_command(["show", "latest", "--json", "--ledger", str(copied_ledger)]) == 0
    before = capsys.readouterr().out
    segment = copied_ledger / "seg" / "00000000.jsonl"
    line = segment.read_bytes().splitlines()[-1]
    segment.chmod(0o644)
    with segment.open("ab") as stream:
        stream.write(b'{"c":"')
    assert line
    assert run_command(["show", "latest", "--json", "--ledger", str(copied_ledger)]) == 0
    assert capsys.readouterr().out == before
    assert _audit(copied_ledger, capsys) == (0, {})
