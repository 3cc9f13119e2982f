"""`kd` as people call it: a process of its own, with what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ENDED", "kd_command", "kd_environment", "kd_json", "run_kd"]

ENDED = frozenset({0, 3, 4})
"""Exit codes of a run that went through all stages: approved, rejected, needs a waiver."""
_ROOT = Path(__file__).parent.parent


def kd_command(*arguments: str, ledger: Path | None = None) -> list[str]:
    """The command line of `kd` with `arguments`."""
    return [sys.executable, "-m", "kd", *arguments, *(() if ledger is None else ("--ledger", str(ledger)))]


def kd_environment(**more: str) -> dict[str, str]:
    """An environment without colours, and with one thread where nothing says otherwise."""
    return {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NO_COLOR": "1", **more}


def run_kd(*arguments: str, ledger: Path | None = None, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A finished `kd` command, run in the root of the checkout."""
    return subprocess.run(
        kd_command(*arguments, ledger=ledger), capture_output=True, text=True, check=False, cwd=_ROOT, env=dict(env or kd_environment())
    )


def kd_json(*arguments: str, ledger: Path | None = None) -> Any:
    """The JSON document that a `kd` command prints; AssertionError unless it exits with 0."""
    finished = run_kd(*arguments, "--json", ledger=ledger)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)
