"""A run that is watched and steered to its verdict, in the terminal of a person."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

import kd
from ledger.events import OwnerClaimed
from tests.command_line import kd_environment, run_kd
from tests.tui.tmux import MISSING, Tmux

_ROOT = Path(__file__).parents[2]
_SMALL = {
    "training.steps": "60",
    "generation.scenarios.total": "12",
    "generation.scenarios.val": "2",
    "generation.scenarios.test": "4",
    "export.hf": "false",
    "conversion.presets": "[fp16]",
    "evaluation.suites": "[lm]",
}
_INTERRUPTED_SECONDS = 2.0
_PATIENCE_SECONDS = 90.0
_STEP = re.compile(r"(\d+)/60 step")


@pytest.fixture
def terminal(tmp_path: Path) -> Tmux:
    """A shell with colours, whose terminal says itself how large it is."""
    environment = {**kd_environment(), "PYTHONPATH": str(_ROOT), "TERM": "xterm-256color"}
    kept = {name: value for name, value in environment.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    return Tmux(tmp_path, kept)


def _start(ledger: Path) -> str:
    """The id of a small run that goes on in a process of its own."""
    changes = [part for key, value in _SMALL.items() for part in ("--set", f"{key}={value}")]
    started = run_kd("run", "configs/tiny.yaml", *changes, "--detach", ledger=ledger)
    assert started.returncode == 0, started.stderr
    found = re.search(r"tiny-\d{8}T\d{6}-[0-9a-f]{6}", started.stdout + started.stderr)
    assert found is not None, started.stdout
    return found[0]


def _owner(ledger: Path, run: str) -> int | None:
    """The process that owns the run now; the header says it too, where it is wide enough."""
    opened = kd.open(ledger, write=False)
    claims = [record.event.pid for record in opened.store.read(f"own/{run}") if isinstance(record.event, OwnerClaimed)]
    return claims[-1] if claims and opened.is_owned(run) else None


def _steps(screen: str) -> int:
    found = _STEP.search(screen)
    return 0 if found is None else int(found[1])


@pytest.mark.skipif(MISSING, reason="tmux is not installed: this test uses the application as a person does, in a terminal")
def test_a_run_is_watched_paused_killed_resumed_and_judged(tmp_path: Path, terminal: Tmux) -> None:
    """All from the application: what is asked is done, a killed owner is noticed, and the terminal is left as it was found."""
    ledger = tmp_path / "ledger"
    run = _start(ledger)
    viewer = shlex.join([sys.executable, "-m", "tui", run, "--write", "--ledger", str(ledger)])
    with terminal:
        terminal.type(f"stty -g > before; {viewer}; echo left with $?; stty -g > after; echo all is over")
        terminal.press("Enter")
        terminal.wait_for(run, "WRITE", seconds=_PATIENCE_SECONDS)
        first = _steps(terminal.wait_for("loss nats", lambda screen: _steps(screen) > 0, seconds=_PATIENCE_SECONDS))
        terminal.wait_for(lambda screen: _steps(screen) > first, seconds=_PATIENCE_SECONDS)

        terminal.type("Pa person is asleep")
        terminal.wait_for("run.pause_requested/1", "a person is asleep", seconds=_PATIENCE_SECONDS)
        unfocused = terminal.line("Append")
        terminal.press("Enter")
        terminal.wait_for(lambda _: terminal.line("Append") != unfocused, seconds=_PATIENCE_SECONDS)
        terminal.press("Enter")
        terminal.wait_for("ACCEPTED after", seconds=_PATIENCE_SECONDS)
        terminal.press("Escape")
        terminal.wait_for("paused", lambda screen: "Append" not in screen, seconds=_PATIENCE_SECONDS)

        _resume(terminal, run)
        terminal.wait_for("running", lambda _: _owner(ledger, run), seconds=_PATIENCE_SECONDS)
        owner = _owner(ledger, run)
        assert owner is not None
        os.kill(owner, signal.SIGKILL)
        killed = time.monotonic()
        terminal.wait_for("interrupted", seconds=_PATIENCE_SECONDS)
        assert time.monotonic() - killed < _INTERRUPTED_SECONDS

        _resume(terminal, run)
        terminal.wait_for(lambda _: _owner(ledger, run) not in {None, owner}, seconds=_PATIENCE_SECONDS)
        terminal.wait_for(
            "governance ✓", lambda screen: re.search(r"verdict +(rejected|waiver|approved)", screen), seconds=_PATIENCE_SECONDS
        )
        terminal.press("q")
        terminal.wait_for("left with 0", "all is over", seconds=_PATIENCE_SECONDS)
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
    shown = run_kd("show", run, ledger=ledger).stdout
    assert "Verdict:" in shown


def _resume(terminal: Tmux, run: str) -> None:
    """Start a new owner from the dialog, and close that."""
    terminal.press("R")
    terminal.wait_for(f"Resume {run}", "Start", seconds=_PATIENCE_SECONDS)
    terminal.press("Enter")
    terminal.wait_for("Close", seconds=_PATIENCE_SECONDS)
    terminal.press("Escape")
    terminal.wait_for(lambda screen: "Close" not in screen, seconds=_PATIENCE_SECONDS)
