"""Pausing, stopping, competing for and cancelling a run from outside, in real processes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.command_line import ENDED, kd_command, kd_environment, kd_json, run_kd

TINY = "configs/tiny.yaml"
_PATIENCE_SECONDS = 180.0


def _start(*arguments: str, ledger: Path, log: str = "log") -> subprocess.Popen[bytes]:
    """A `kd` command in the background, whose words go to a file beside the ledger."""
    with ledger.with_name(log).open("ab") as output:
        return subprocess.Popen(kd_command(*arguments, ledger=ledger), stdout=output, stderr=output, env=kd_environment())


def _wait_for(ledger: Path, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The summary of the only run, once `holds` is true of it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (ledger / "LEDGER.json").exists() and kd_json("runs", ledger=ledger):
            summary: dict[str, Any] = kd_json("show", "latest", ledger=ledger)
            if holds(summary):
                return summary
    raise AssertionError("the run did not get there")


def _is_training(summary: dict[str, Any]) -> bool:
    return summary["stages"]["training"]["state"] not in {"waiting", "completed"}


def _digests(ledger: Path) -> dict[str, str]:
    return {f"{row['stage']}/{row['kind']}": row["digest"] for row in kd_json("artifacts", "list", ledger=ledger)}


def test_a_run_that_is_stopped_in_every_way_ends_as_an_undisturbed_one(finished_ledger: Path, tmp_path: Path) -> None:
    """Ctrl-C pauses, twice exits with 130, `kd pause` pauses, of two owners one is refused, and the result is the same."""
    ledger = tmp_path / "ledger"

    first = _start("run", TINY, ledger=ledger)
    _wait_for(ledger, lambda summary: summary["stages"]["generation"]["state"] != "waiting")
    first.send_signal(signal.SIGINT)
    assert first.wait(_PATIENCE_SECONDS) == 0
    assert kd_json("show", "latest", ledger=ledger)["state"] == "paused"

    second = _start("resume", "latest", ledger=ledger)
    _wait_for(ledger, _is_training)
    rival = run_kd("resume", "latest", ledger=ledger)
    assert rival.returncode == 2
    assert str(second.pid) in rival.stderr
    assert run_kd("pause", "latest", "--reason", "lunch", ledger=ledger).returncode == 0
    assert second.wait(_PATIENCE_SECONDS) == 0
    summary = kd_json("show", "latest", ledger=ledger)
    assert (summary["state"], summary["reason"]) == ("paused", "lunch")

    third = _start("resume", "latest", ledger=ledger)
    _wait_for(ledger, lambda summary: summary["stages"]["export"]["state"] != "waiting")
    third.send_signal(signal.SIGINT)
    third.send_signal(signal.SIGTERM)
    assert third.wait(_PATIENCE_SECONDS) in {0, 130}
    summary = kd_json("show", "latest", ledger=ledger)
    assert summary["state"] in {"interrupted", "paused"}

    assert run_kd("resume", "latest", ledger=ledger).returncode in ENDED
    assert _digests(ledger) == _digests(finished_ledger)
    assert run_kd("audit", "latest", ledger=ledger).returncode == 0


def test_two_resumes_at_once_have_one_owner(tmp_path: Path) -> None:
    """Whoever comes second is told who owns the run, and exits with 2; a cancelled run ends with 1."""
    ledger = tmp_path / "ledger"
    run = _start("run", TINY, ledger=ledger)
    _wait_for(ledger, lambda summary: summary["state"] == "running")
    run.kill()
    run.wait()
    assert kd_json("show", "latest", ledger=ledger)["state"] == "interrupted"

    rivals = [_start("resume", "latest", ledger=ledger, log=f"rival-{number}") for number in range(2)]
    _wait_for(ledger, lambda summary: any(rival.poll() is not None for rival in rivals))
    (loser,) = [rival for rival in rivals if rival.poll() is not None]
    (winner,) = [rival for rival in rivals if rival is not loser]
    assert loser.returncode == 2
    assert str(winner.pid) in ledger.with_name(f"rival-{rivals.index(loser)}").read_text()

    assert run_kd("cancel", "latest", "--reason", "enough", "--now", ledger=ledger).returncode == 0
    assert winner.wait(_PATIENCE_SECONDS) == 1
    assert kd_json("show", "latest", ledger=ledger)["state"] == "cancelled"
    assert run_kd("resume", "latest", ledger=ledger).returncode == 2
