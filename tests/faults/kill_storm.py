"""`kill -9` of a run at random instants, `kd resume` each time, and what is left to compare afterwards.

Kills arrive like a Poisson process: after each start the wait for the next kill is drawn from an exponential distribution, so every instant
is as likely as any other (imports, recovery, the middle of a write) and a step longer than the mean wait still ends some time. A run that
ends before all kills are used up is followed by another in a fresh ledger.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen

__all__ = ["Digests", "StormResult", "storm", "undisturbed"]

Digests = dict[str, str]
"""`stage/kind` → digest of everything the stages handed over, measurements (they hold timings) left out."""

_ENDED = {0, 3, 4}
"""Exit codes of a run that went through all stages: approved, rejected, needs a waiver."""
_ORPHAN_SECONDS = 20.0


@frozen(kw_only=True)
class StormResult:
    """What a storm left behind."""

    digests: Digests
    """Of the last run; all runs of the storm agree, or `storm` raises."""
    num_kills: int
    num_runs: int
    num_requests_repeated: int
    """Teacher requests sent although their reply was already in the ledger."""
    num_orphans: int
    """Child processes that outlived their killed owner."""
    audit_exit: int
    """The worst exit code of `kd audit` over all runs of the storm."""


def undisturbed(config: Path, folder: Path) -> Digests:
    """The digests of one run of `config` in a fresh ledger below `folder` that nobody disturbs."""
    ledger = _Ledger(folder / "undisturbed")
    process = ledger.start("run", str(config))
    _check_ended(process, process.wait(), ledger)
    return ledger.digests(ledger.run_id())


def storm(config: Path, folder: Path, kills: int, seed: int, *, mean_seconds: float = 2.5) -> StormResult:
    """Kill runs of `config` `kills` times, `mean_seconds` after a start on average, and let the last one end."""
    waits = random.Random(seed)
    num_kills = num_runs = num_repeated = num_orphans = audit_exit = 0
    all_digests: list[Digests] = []
    while num_kills < kills or num_runs == 0:
        ledger = _Ledger(folder / f"storm-{num_runs}")
        while (orphans := _kill_once(ledger, config, waits.expovariate(1 / mean_seconds) if num_kills < kills else None)) is not None:
            num_kills += 1
            num_orphans += orphans
        num_runs += 1
        run = ledger.run_id()
        all_digests.append(ledger.digests(run))
        num_repeated += ledger.num_requests_repeated(run)
        audit_exit = max(audit_exit, ledger.call("audit", run).returncode)
    assert all(digests == all_digests[0] for digests in all_digests), f"runs of one storm differ: {all_digests}"
    return StormResult(
        digests=all_digests[-1],
        num_kills=num_kills,
        num_runs=num_runs,
        num_requests_repeated=num_repeated,
        num_orphans=num_orphans,
        audit_exit=audit_exit,
    )


def _kill_once(ledger: _Ledger, config: Path, wait_seconds: float | None) -> int | None:
    """Start or resume, kill after the wait: the number of orphans; None where the run ended first."""
    run = ledger.find_run_id()
    process = ledger.start("run", str(config)) if run is None else ledger.start("resume", run)
    try:
        exit_code = process.wait(timeout=wait_seconds)
    except subprocess.TimeoutExpired:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        exit_code = process.wait()
        if exit_code == -signal.SIGKILL:
            return len(psutil.wait_procs(children, timeout=_ORPHAN_SECONDS)[1])
    _check_ended(process, exit_code, ledger)
    return None


def _check_ended(process: subprocess.Popen[bytes], exit_code: int, ledger: _Ledger) -> None:
    assert exit_code in _ENDED, f"{process.args!r} exited {exit_code}:\n{ledger.log.read_text()[-4000:]}"


class _Ledger:
    """One ledger folder and the command line that works on it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.path = folder / "ledger"
        self.log = folder / "log"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A `kd` command in the background; what it prints is appended to the log."""
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command(*arguments), stdout=log, stderr=log, env=_environment())

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A finished `kd` command."""
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False, env=_environment())

    def json(self, *arguments: str) -> Any:
        """The JSON document a `kd` command prints."""
        finished = self.call(*arguments, "--json")
        assert finished.returncode == 0, f"{finished.args} exited {finished.returncode}: {finished.stderr}"
        return json.loads(finished.stdout)

    def find_run_id(self) -> str | None:
        """The id of the only run, None before it was planned."""
        runs = self.json("runs") if (self.path / "LEDGER.json").exists() else []
        assert len(runs) <= 1, f"one run was started and {len(runs)} are there: {runs}"
        return str(runs[0]["id"]) if runs else None

    def run_id(self) -> str:
        """The id of the only run."""
        run = self.find_run_id()
        assert run is not None, "no run was recorded"
        return run

    def digests(self, run: str) -> Digests:
        """What the stages of `run` handed over."""
        rows = self.json("artifacts", "list")
        return {
            f"{row['stage']}/{row['kind']}": row["digest"]
            for row in rows
            if row["run"] == run and not row["kind"].startswith("measurements")
        }

    def num_requests_repeated(self, run: str) -> int:
        """Attempts that began after a reply to the same request was recorded."""
        finished = self.call("events", run, "--json")
        assert finished.returncode == 0, finished.stderr
        answered: set[str] = set()
        num_repeated = 0
        for record in map(json.loads, finished.stdout.splitlines()):
            if record["name"] == "generation.attempt_started":
                num_repeated += record["event"]["request_key"] in answered
            elif record["name"] == "generation.attempt_ended" and record["event"]["outcome"] == "accepted":
                answered.add(record["event"]["request_key"])
        return num_repeated

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kd", *arguments, "--ledger", str(self.path)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NO_COLOR": "1"}
