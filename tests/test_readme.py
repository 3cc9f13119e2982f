"""The README runs: its Python and its console blocks, against a finished run of configs/tiny.yaml."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser

from tests.command_line import kd_environment

_ROOT = Path(__file__).parent.parent
_COMMAND = re.compile(r"^\$ (?P<line>kd .*)$")


def _run_console(example: Example) -> str | None:
    """Every command exits with 0, and prints a line that begins with each word with which a shown line begins."""
    shown: list[str] = []
    printed = ""
    for line in [*str(example.parsed).splitlines(), "$ kd --version"]:
        command = _COMMAND.match(line)
        if command is None:
            shown.append(line)
            continue
        missing = {word for word in map(_first_word, shown) if word and word not in set(map(_first_word, printed.splitlines()))}
        if missing:
            return f"no line begins with {sorted(missing)}; printed was:\n{printed}"
        arguments = shlex.split(command["line"], comments=True)[1:]
        finished = subprocess.run(
            [sys.executable, "-m", "kd", *arguments], capture_output=True, text=True, check=False, cwd=_ROOT, env=kd_environment()
        )
        if finished.returncode != 0:
            return f"{line!r} exited with {finished.returncode}: {finished.stderr}"
        shown, printed = [], finished.stdout
    return None


def _first_word(line: str) -> str:
    words = line.split()
    return words[0] if words and words[0] != "…" else ""


def _examples(name: str) -> list[Example]:
    sybil = Sybil(parsers=[CodeBlockParser("python", PythonEvaluator()), CodeBlockParser("console", _run_console)], path=str(_ROOT))
    document: Document = sybil.parse(_ROOT / name)
    return list(document.examples())


def test_every_block_of_the_readme_runs(finished_ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows is what happens."""
    monkeypatch.setenv("KD_LEDGER", str(finished_ledger))
    monkeypatch.chdir(tmp_path)
    examples = _examples("README.md")
    assert len(examples) >= 2
    for example in examples:
        example.evaluate()
