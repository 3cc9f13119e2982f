"""Reading a finished run: every shape that `--json` promises, and the same answers at every position."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd.cli.app import run_command


def _json(arguments: list[str], ledger: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert run_command([*arguments, "--json", "--ledger", str(ledger)]) == 0
    return json.loads(capsys.readouterr().out)


def test_runs_lists_the_promised_fields(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row a run: id, name, state, stage, verdict with its end and its waivers, start, seconds, last position."""
    (row,) = _json(["runs"], finished_ledger, capsys)
    verdict = {"verdict", "valid_until_ms", "is_lapsed", "num_waivers"}
    assert set(row) == {"id", "name", "state", "stage", *verdict, "started_ms", "seconds", "last_seq"}
    assert row["name"] == "tiny"
    assert row["state"] in {"succeeded", "rejected"}


def test_show_tells_every_stage_and_what_was_measured(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished run shows six completed stages, measurements, gates, artifacts and a verdict."""
    summary = _json(["show", "latest"], finished_ledger, capsys)
    assert {row["state"] for row in summary["stages"].values()} == {"completed"}
    assert {(m["suite"], m["metric"], m["slice"]) for m in summary["measurements"]} >= {
        ("lm", "kl_nats", "student"),
        ("lm", "kl_nats", "untrained"),
        ("tool_use", "right_call", "constrained"),
        ("tool_use", "right_call", "free"),
    }
    assert summary["gates"]
    assert summary["verdict"] in {"approved", "waiver_required", "rejected"}


def test_show_at_an_earlier_position_knows_nothing_of_what_came_later(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Going back shows the stage that was at work then, and no verdict."""
    last = _json(["show", "latest"], finished_ledger, capsys)["last_seq"]
    earlier = _json(["show", "latest", "--at", str(last // 2)], finished_ledger, capsys)
    assert earlier["last_seq"] <= last // 2
    assert earlier["verdict"] is None
    assert earlier["stages"]["governance"]["state"] == "waiting"


def test_replaying_twice_gives_the_same_states(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The digest of every state is a function of the ledger alone."""
    first = _json(["replay", "latest"], finished_ledger, capsys)
    assert first == _json(["replay", "latest"], finished_ledger, capsys)
    assert len(first["streams"]) == 7


def test_events_prints_one_record_a_line(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of `kd events --json` is a record, in order, and --type selects by name."""
    assert run_command(["events", "latest", "--json", "--type", "training.*", "--ledger", str(finished_ledger)]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[0]["name"] == "training.started"
    assert records[-1]["name"] == "training.completed"
    assert [record["seq"] for record in records] == sorted(record["seq"] for record in records)
    assert all(record["name"].startswith("training.") for record in records)


def test_artifacts_are_listed_and_copied_out(finished_ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every listed artifact can be had by its digest."""
    rows = _json(["artifacts", "list"], finished_ledger, capsys)
    assert {"dataset", "signal", "student", "export", "package.fp16", "package.ane-int8"} <= {row["kind"] for row in rows}
    assert all(set(row) == {"kind", "stage", "run", "digest", "num_bytes"} for row in rows)
    student = next(row for row in rows if row["kind"] == "student")
    out = tmp_path / "student"
    _json(["artifacts", "get", student["digest"][:12], "-o", str(out)], finished_ledger, capsys)
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) == student["num_bytes"]


def test_an_unknown_run_is_named(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is not there exits with 2."""
    assert run_command(["show", "nothing", "--ledger", str(finished_ledger)]) == 2
    assert "There is no run 'nothing'" in capsys.readouterr().err


def test_a_finished_run_cannot_be_resumed_paused_or_cancelled(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has ended stays as it ended, and nothing is appended."""
    before = _json(["show", "latest"], finished_ledger, capsys)["last_seq"]
    for arguments in (["resume", "latest"], ["pause", "latest", "--reason", "x"], ["cancel", "latest", "--reason", "x"]):
        assert run_command([*arguments, "--ledger", str(finished_ledger)]) == 2
    assert "nothing to" in capsys.readouterr().err
    assert _json(["show", "latest"], finished_ledger, capsys)["last_seq"] == before
