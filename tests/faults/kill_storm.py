"""`kill -9` of a run at random instants, `kd resume` each time, and what is left to compare afterwards.

Kills are spread over the whole pipeline: after each start the storm waits until a random number of records came, on average so many
that all kills together span a run, and then a random part of a second, so that imports, recovery and the middle of long work are hit
as well. A run that ends before all kills are used up is followed by another in a fresh ledger.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
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
_LONGEST_DELAY_SECONDS = 0.6
_POLL_SECONDS = 0.005


@frozen(kw_only=True)
class _Instant:
    """When to kill: `delay_seconds` after `num_records` came since the start."""

    num_records: int
    delay_seconds: float


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


def undisturbed(config: Path, folder: Path) -> tuple[Digests, int]:
    """The digests of one run of `config` in a fresh ledger below `folder` that nobody disturbs, and how many records it took."""
    ledger = _Ledger(folder / "undisturbed")
    process = ledger.start("run", str(config))
    _check_ended(process, process.wait(), ledger)
    return ledger.digests(ledger.run_id()), ledger.num_records()


def storm(config: Path, folder: Path, kills: int, seed: int, *, records_of_a_run: int) -> StormResult:
    """Kill a run of `config` `kills` times over its `records_of_a_run` records, and let the last one end."""
    randomness = random.Random(seed)
    # the records of `records_of_a_run / kills` on average; a resumed run also records that it was resumed
    instants = [
        _Instant(
            num_records=randomness.randint(0, 2 * records_of_a_run // kills), delay_seconds=randomness.uniform(0, _LONGEST_DELAY_SECONDS)
        )
        for _ in range(kills)
    ]
    num_kills = num_runs = num_repeated = num_orphans = audit_exit = 0
    all_digests: list[Digests] = []
    while num_kills < kills or num_runs == 0:
        ledger = _Ledger(folder / f"storm-{num_runs}")
        while (orphans := _kill_once(ledger, config, instants[num_kills] if num_kills < kills else None)) is not None:
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


def _kill_once(ledger: _Ledger, config: Path, instant: _Instant | None) -> int | None:
    """Start or resume, kill at the instant: the number of orphans; None where the run ended first."""
    run = ledger.find_run_id()
    if run is not None and ledger.has_ended(run):
        return None  # the last kill came after the verdict
    before = ledger.num_records()
    process = ledger.start("run", str(config)) if run is None else ledger.start("resume", run)
    if instant is not None:
        while process.poll() is None and ledger.num_records() - before < instant.num_records:
            time.sleep(_POLL_SECONDS)
        time.sleep(instant.delay_seconds)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            return len(psutil.wait_procs(children, timeout=_ORPHAN_SECONDS)[1])
    _check_ended(process, process.wait(), ledger)
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

    def num_records(self) -> int:
        """How many complete lines there are; cheap, for looking often."""
        return sum(path.read_bytes().count(b"\n") for path in (self.path / "seg").glob("*.jsonl"))

    def find_run_id(self) -> str | None:
        """The id of the only run, None before it was planned."""
        runs = self.json("runs") if (self.path / "LEDGER.json").exists() else []
        assert len(runs) <= 1, f"one run was started and {len(runs)} are there: {runs}"
        return str(runs[0]["id"]) if runs else None

    def has_ended(self, run: str) -> bool:
        """Whether the run went through all its stages."""
        return self.json("show", run)["state"] in {"succeeded", "rejected"}

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
