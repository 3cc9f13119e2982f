"""RESULTS.md: the last full results, one section a benchmark, with date, commit, versions and processor."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench.rows import Row, rows_to_table

__all__ = ["RESULTS", "record"]

RESULTS = Path(__file__).with_name("RESULTS.md")
_VERSIONS = ("kd-ledger", "torch", "numpy", "msgspec", "onnxruntime", "coremltools")
_TITLE = "# Benchmark results\n\nWritten by `tools/bench NAME --record`; each section is the last full run of that benchmark.\n"


def record(name: str, command: str, rows: Sequence[Row], *, path: Path = RESULTS) -> None:
    """Replace the section of benchmark `name` in the file at `path`."""
    text = path.read_text(encoding="utf-8") if path.exists() else _TITLE
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    others = [section.strip() for section in sections if not section.startswith(f"## {name}\n")]
    section = f"## {name}\n\n`{command}`\n\n{_circumstances()}\n\n{rows_to_table(rows)}"
    path.write_text("\n\n".join([head.strip(), *sorted([*others, section])]) + "\n", encoding="utf-8")


def _circumstances() -> str:
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    versions = ", ".join(f"{package} {version(package)}" for package in _VERSIONS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{_processor()}, {cores} cores, {platform.system()} {platform.machine()}"
    return f"{date}, commit {_commit()}, Python {platform.python_version()}, {versions}; {machine}."


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "kd", "ledger", "configs")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git checkout)"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or "unknown processor"
