"""`kd` as a benchmark calls it: a child process in a fresh ledger, answered in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CONFIGS", "CommandLine"]

CONFIGS = Path(__file__).parents[2] / "configs"

_ENDED = {0, 3, 4}
"""Exit codes of a run that went through all stages: approved, rejected, needs a waiver."""


class CommandLine:
    """The command line on one ledger."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger

    def run(self, config: str, *options: str) -> str:
        """Run `configs/<config>.yaml` to its end: the run's id."""
        before = {row["id"] for row in self._runs()}
        finished = self._call("run", str(CONFIGS / f"{config}.yaml"), *options)
        if finished.returncode not in _ENDED:
            raise RuntimeError(f"kd run {config} exited {finished.returncode}: {finished.stderr.strip()[-2000:]}")
        (new,) = {row["id"] for row in self._runs()} - before
        return str(new)

    def events(self, run: str, *, name: str) -> Iterator[dict[str, Any]]:
        """The payloads of all events of `run` that are called `name`, in order."""
        finished = self._call("events", run, "--type", name, "--json")
        finished.check_returncode()
        return (json.loads(line)["event"] for line in finished.stdout.splitlines())

    def _runs(self) -> list[dict[str, Any]]:
        if not (self.ledger / "LEDGER.json").exists():
            return []
        finished = self._call("runs", "--json")
        finished.check_returncode()
        return list(json.loads(finished.stdout))

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kd", *arguments, "--ledger", str(self.ledger)]
        return subprocess.run(command, capture_output=True, text=True, check=False)
