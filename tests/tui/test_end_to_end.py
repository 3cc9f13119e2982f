"""A run that is watched and steered to its verdict, in the terminals of two people.

`KD_E2E_CONFIG=configs/quickstart.yaml` does so with a run of that configuration instead of a tiny one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
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
_CONFIG = os.environ.get("KD_E2E_CONFIG", "")
_PATIENCE_SECONDS = 1200.0 if _CONFIG else 90.0
_STEP = re.compile(r"(\d+)/\d+ step")
_JUDGED = re.compile(r"verdict +(rejected|waiver|approved)")
_RUN = re.compile(r"[\w.-]+-\d{8}T\d{6}-[0-9a-f]{6}")


@pytest.fixture
def environment() -> dict[str, str]:
    """Colours, and a terminal that says itself how large it is."""
    found = {**kd_environment(), "PYTHONPATH": str(_ROOT), "TERM": "xterm-256color"}
    return {name: value for name, value in found.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """A place for a ledger; whoever still works on a run in it afterwards is killed."""
    path = tmp_path / "ledger"
    yield path
    for run in {record.stream.removeprefix("own/") for record in kd.open(path, write=False).store.scan(streams="own/*")}:
        if (owner := _owner(path, run)) is not None:
            os.kill(owner, signal.SIGKILL)


def _start(ledger: Path) -> str:
    """The id of a run that goes on in a process of its own."""
    changes = [] if _CONFIG else [part for key, value in _SMALL.items() for part in ("--set", f"{key}={value}")]
    started = run_kd("run", _CONFIG or "configs/tiny.yaml", *changes, "--detach", ledger=ledger)
    assert started.returncode == 0, started.stderr
    found = _RUN.search(started.stdout + started.stderr)
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
def test_a_run_is_watched_paused_killed_resumed_and_judged(ledger: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """All from the application: what one person asks for is done and seen by the other, a killed owner is noticed, what is copied
    is understood by `kd`, and the terminal is left as it was found."""
    run = _start(ledger)
    with Tmux(tmp_path, environment) as terminal, Tmux(tmp_path, environment) as other:
        _open(terminal, run, ledger, "--write")
        _open(other, run, ledger)
        terminal.wait_for(run, "WRITE", seconds=_PATIENCE_SECONDS)
        first = _steps(terminal.wait_for("loss nats", lambda screen: _steps(screen) > 0, seconds=_PATIENCE_SECONDS))
        terminal.wait_for(lambda screen: _steps(screen) > first, seconds=_PATIENCE_SECONDS)

        _pause(terminal)
        other.wait_for("READ-ONLY", "paused", seconds=_PATIENCE_SECONDS)
        _resume(terminal, run)
        terminal.wait_for("running", lambda _: _owner(ledger, run), seconds=_PATIENCE_SECONDS)
        other.wait_for("running", seconds=_PATIENCE_SECONDS)
        owner = _owner(ledger, run)
        assert owner is not None
        os.kill(owner, signal.SIGKILL)
        killed = time.monotonic()
        terminal.wait_for("interrupted", seconds=_PATIENCE_SECONDS)
        assert time.monotonic() - killed < _INTERRUPTED_SECONDS

        _resume(terminal, run)
        terminal.wait_for(lambda _: _owner(ledger, run) not in {None, owner}, seconds=_PATIENCE_SECONDS)
        for each in (terminal, other):
            each.wait_for("governance ✓", _JUDGED.search, seconds=_PATIENCE_SECONDS)
        _check_links(terminal, run, ledger)
        for each in (terminal, other):
            each.press("q")
            each.wait_for("left with 0, the terminal as it was", seconds=_PATIENCE_SECONDS)


def _open(terminal: Tmux, run: str, ledger: Path, *options: str) -> None:
    """Start the application; behind it the shell says how it ended and whether the settings are those of before."""
    viewer = shlex.join([sys.executable, "-m", "tui", run, *options, "--ledger", str(ledger)])
    compared = '[ "$(stty -g)" = "$before" ] && echo as it was'
    terminal.type(f'before=$(stty -g); {viewer}; echo left with $?, the terminal "$({compared})"')
    terminal.press("Enter")


def _pause(terminal: Tmux) -> None:
    """Ask for a pause with a reason, and see it accepted."""
    terminal.type("Pa person is asleep")
    terminal.wait_for("run.pause_requested/1", "a person is asleep", seconds=_PATIENCE_SECONDS)
    unfocused = terminal.line("Append")
    terminal.press("Enter")
    terminal.wait_for(lambda _: terminal.line("Append") != unfocused, seconds=_PATIENCE_SECONDS)
    terminal.press("Enter")
    terminal.wait_for("ACCEPTED after", seconds=_PATIENCE_SECONDS)
    terminal.press("Escape")
    terminal.wait_for("paused", lambda screen: "Append" not in screen, seconds=_PATIENCE_SECONDS)


def _resume(terminal: Tmux, run: str) -> None:
    """Record why, start a new owner, see its answer, and close the dialog."""
    terminal.type("Ra person is back")
    terminal.wait_for(f"Resume {run}", "run.resume_requested/1", "a person is back", seconds=_PATIENCE_SECONDS)
    unfocused = terminal.line("Append")
    terminal.press("Enter")
    terminal.wait_for(lambda _: terminal.line("Append") != unfocused, seconds=_PATIENCE_SECONDS)
    terminal.press("Enter")
    terminal.wait_for("RESUMED after", "Close", seconds=_PATIENCE_SECONDS)
    terminal.press("Escape")
    terminal.wait_for(lambda screen: "Close" not in screen, seconds=_PATIENCE_SECONDS)


def _check_links(terminal: Tmux, run: str, ledger: Path) -> None:
    """Scrub to record 0, and back to the end; the links copied there and at a marker say the same to `kd show`."""
    terminal.type("3:at 0")
    terminal.press("Enter")
    terminal.wait_for("@0 ", "VIEW HELD", seconds=_PATIENCE_SECONDS)
    terminal.type("}}")
    terminal.wait_for(lambda screen: "@0 " not in screen, seconds=_PATIENCE_SECONDS)
    early = _copied(terminal, run)
    terminal.type("L")
    terminal.wait_for(lambda screen: "VIEW HELD" not in screen, seconds=_PATIENCE_SECONDS)
    for link, words in ((early, f"Run {run} is "), (_copied(terminal, run), "Verdict:")):
        position = re.split("[@~]", link)[1]
        shown = [run_kd("show", *arguments, ledger=ledger) for arguments in ((link,), (run, "--at", position))]
        assert [each.returncode for each in shown] == [0, 0], [each.stderr for each in shown]
        assert shown[0].stdout == shown[1].stdout
        assert words in shown[0].stdout


def _copied(terminal: Tmux, run: str) -> str:
    """The link of what is shown, out of the clipboard."""
    before = terminal.clipboard()
    terminal.type("y")
    terminal.wait_for("Copied: ", lambda _: terminal.clipboard() != before, seconds=_PATIENCE_SECONDS)
    link = terminal.clipboard()
    assert re.fullmatch(rf"{run}@\d+~[0-9a-f]{{8}}", link)
    return link
