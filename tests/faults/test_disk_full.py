"""A disk that is full pauses the run, with nothing lost."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

from tests.command_line import kd_command, kd_environment, kd_json, run_kd

_LIMIT_BYTES = 1_000_000


def test_a_full_disk_pauses_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    """What cannot be written ends with one sentence and exit 1; with room again the same run goes on."""
    ledger = tmp_path / "ledger"
    full = subprocess.run(
        kd_command("run", "configs/tiny.yaml", ledger=ledger),
        capture_output=True,
        text=True,
        check=False,
        env=kd_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT_BYTES, _LIMIT_BYTES)),
    )
    assert full.returncode == 1, full.stderr
    summary = kd_json("show", "latest", ledger=ledger)
    assert summary["state"] == "paused"
    assert summary["reason"].startswith("The disk is full: free some space, then resume.")
    assert "The disk is full" in full.stdout
    assert "Traceback" not in full.stderr

    resumed = subprocess.Popen(kd_command("resume", "latest", ledger=ledger), env=kd_environment(), stderr=subprocess.DEVNULL)
    while kd_json("show", "latest", ledger=ledger)["stages"]["generation"]["state"] in {"waiting", "binding"}:
        assert resumed.poll() is None
        time.sleep(0.2)
    assert run_kd("cancel", "latest", "--reason", "seen enough", "--now", ledger=ledger).returncode == 0
    assert resumed.wait(60) == 1
    assert run_kd("audit", "latest", ledger=ledger).returncode == 0
