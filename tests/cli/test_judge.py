"""`kd judge`: waivers from the command line, until they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd import api
from kd.cli.app import run_command
from kd.events import REGISTRY
from ledger import open_ledger
from ledger.clock import SystemClock
from ledger.events import OwnerReleased
from ledger.testing import FixedClock
from tests.governance.waiver_examples import DAY_MS, MITIGATION, NOW_MS
from tests.run.waiting_run import RUN, write_waiting_run, write_waived_run

WHO = ("--requested-by", "ana", "--approved-by", "bo", "--mitigation", MITIGATION, "--description", "doubled prompts")
WHY = ("--reason", "known_dataset_defect", *WHO)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger whose run waits for waivers of `kl` and `speed`."""
    write_waiting_run(tmp_path / "ledger").close()
    return tmp_path / "ledger"


def kd(ledger: Path, *arguments: str) -> int:
    return run_command([*arguments, "--ledger", str(ledger)])


def printed(ledger: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert kd(ledger, *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_a_run_is_waived_resumed_and_approved(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From exit code 4 through two waivers and `kd resume` to exit code 0; the limit is what was observed unless it is given."""
    assert kd(ledger, "judge", "verdict", "latest") == 4
    granted = printed(ledger, capsys, "judge", "waive", RUN, "--gate", "kl", "--expires", "12d", *WHY)
    assert granted["limits"] == [{"gate_id": "kl", "worst": 6.125}]
    assert kd(ledger, "judge", "waive", "latest", "--gate", "speed", "--limit", "inconclusive", "--expires", "72h", *WHY) == 0
    assert f"kd resume {RUN}" in capsys.readouterr().out
    assert {row["standing"] for row in printed(ledger, capsys, "judge", "waivers", RUN)} == {"unanswered"}
    assert kd(ledger, "resume", RUN, "--reason", "two waivers were granted") == 0
    assert "Verdict: approved_with_waivers, until 20" in capsys.readouterr().out
    names = [record.name for record in api.open(ledger, write=False).store.scan()]
    asked = names.index("run.resume_requested")
    assert names[asked + 1 : asked + 3] == ["ledger.owner_claimed", "run.resumed"]
    assert [(row["standing"], row["uses"]) for row in printed(ledger, capsys, "judge", "waivers", RUN)] == [("in force", 1)] * 2
    verdict = printed(ledger, capsys, "judge", "verdict", RUN)
    assert (verdict["status"], verdict["is_lapsed"]) == ("approved_with_waivers", False)
    (row,) = printed(ledger, capsys, "runs")
    assert (row["verdict"], row["num_waivers"], row["is_lapsed"]) == ("approved_with_waivers", 2, False)
    assert kd(ledger, "runs") == 0
    assert "waived 7" in capsys.readouterr().out


def test_an_approval_lapses_with_its_first_waiver(
    ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a waiver the exit code becomes 3 and every reader says so; at an earlier position it still holds."""
    for gate in ("kl", "speed"):
        assert kd(ledger, "judge", "waive", RUN, "--gate", gate, "--expires", "2d", *WHY) == 0
    assert kd(ledger, "resume", RUN) == 0
    until = printed(ledger, capsys, "judge", "verdict", RUN)["valid_until_ms"]
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: until - 1)
    assert kd(ledger, "judge", "verdict", RUN) == 0
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: until)
    assert kd(ledger, "judge", "verdict", RUN) == 3
    assert "LAPSED since" in capsys.readouterr().out
    summary = printed(ledger, capsys, "show", RUN)
    assert (summary["is_lapsed"], summary["num_waivers"]) == (True, 1)
    assert [row["standing"] for row in printed(ledger, capsys, "judge", "waivers", RUN)] == ["expired", "exhausted"]
    assert kd(ledger, "runs") == 0
    assert "lapsed" in capsys.readouterr().out
    assert kd(ledger, "judge", "verdict", RUN, "--at", str(summary["last_seq"])) == 0


def test_a_lapsed_approval_is_renewed(ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end of its waivers a run is waived and resumed as before, to exit code 0; `kd runs` says until when."""
    for gate in ("kl", "speed"):
        assert kd(ledger, "judge", "waive", RUN, "--gate", gate, "--expires", "2d", "--uses", "2", *WHY) == 0
    assert kd(ledger, "resume", RUN) == 0
    end_ms = printed(ledger, capsys, "judge", "verdict", RUN)["valid_until_ms"] + DAY_MS
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: end_ms)
    assert kd(ledger, "resume", RUN) == 2
    assert "kd judge waive" in capsys.readouterr().err
    assert kd(ledger, "judge", "waive", RUN, "--gate", "kl", "--expires", "2d", *WHY) == 0
    assert printed(ledger, capsys, "show", RUN)["is_resumable"] is True
    assert kd(ledger, "judge", "waive", RUN, "--gate", "speed", "--expires", "1d", *WHY) == 0
    assert kd(ledger, "resume", RUN) == 0
    (row,) = printed(ledger, capsys, "runs")
    assert (row["is_lapsed"], row["valid_until_ms"]) == (False, end_ms + DAY_MS)
    assert kd(ledger, "audit", RUN) == 0


def test_a_position_is_as_late_as_its_record_of_whatever_run(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the end of a waiver an approval has lapsed at the records of other runs too, whatever the run itself did last."""
    write_waived_run(ledger.with_name("waived")).close()
    with open_ledger(ledger.with_name("waived"), registry=REGISTRY, clock=FixedClock(NOW_MS + 20 * DAY_MS)) as store:
        held = store.end().position - 1
        store.append("own/other", [OwnerReleased(run="other", fence=0)])
    ledger = ledger.with_name("waived")
    for position, code, standing in ((held, 0, "in force"), (held + 1, 3, "expired")):
        at = ("--at", str(position))
        assert printed(ledger, capsys, "judge", "verdict", RUN, *at, code=code)["is_lapsed"] is bool(code)
        assert printed(ledger, capsys, "show", RUN, *at)["is_lapsed"] is bool(code)
        assert standing in {row["standing"] for row in printed(ledger, capsys, "judge", "waivers", RUN, *at)}


def test_all_mistakes_of_a_waiver_are_told_at_once(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad end, a bad limit and a rule that forbids it are one answer, exit code 2, and nothing is recorded."""
    before = (ledger / "seg" / "00000000.jsonl").read_bytes()
    bad = ["--gate", "finite", "--limit", "much", "--expires", "soon", "--reason", "other", "--requested-by", "bo", "--approved-by", "bo"]
    assert kd(ledger, "judge", "waive", RUN, *bad, "--description", "x", "--mitigation", "none") == 2
    told = capsys.readouterr().err
    for words in ("'much' is no limit", "'soon' is no end", "4 characters", "somebody else", "Gate finite", "Nothing was recorded."):
        assert words in told
    assert (ledger / "seg" / "00000000.jsonl").read_bytes() == before


def test_what_waits_for_no_waiver_is_refused(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A resume without a waiver says how to grant one; a run that was approved has nothing to waive."""
    assert kd(ledger, "resume", RUN) == 2
    assert "kd judge waive" in capsys.readouterr().err
    for gate in ("kl", "speed"):
        assert kd(ledger, "judge", "waive", RUN, "--gate", gate, "--expires", "2d", *WHY) == 0
    assert kd(ledger, "resume", RUN) == 0
    capsys.readouterr()
    assert kd(ledger, "judge", "waive", RUN, "--gate", "kl", "--expires", "2d", *WHY) == 2
    assert "there is nothing to waive" in capsys.readouterr().err


def test_a_rejected_waiver_says_why(ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiver that ended before the run was taken up again leaves exit code 4, and its reason is one command away."""
    assert kd(ledger, "judge", "waive", RUN, "--gate", "kl", "--expires", "1h", *WHY) == 0
    later = SystemClock().now_ms() + 2 * 3_600_000
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: later)
    capsys.readouterr()
    assert kd(ledger, "resume", RUN) == 4
    assert f"kd judge waivers {RUN}" in capsys.readouterr().out
    (row,) = printed(ledger, capsys, "judge", "waivers", RUN)
    assert row["standing"] == "rejected"
    assert "The waiver ended 1 hour ago" in row["reason"]
    assert kd(ledger, "audit", RUN) == 0


def test_a_run_without_a_verdict_has_none_to_print(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the judgement there is one sentence and exit code 2; a run without waivers says so."""
    assert kd(ledger, "judge", "verdict", RUN, "--at", "3") == 2
    assert "has no verdict there" in capsys.readouterr().err
    assert kd(ledger, "judge", "waivers", RUN) == 0
    assert "No waiver was granted" in capsys.readouterr().out
