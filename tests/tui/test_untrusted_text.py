"""What models and files wrote is shown, not obeyed, and secrets are not shown at all: watched on a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import termios
import time
from pathlib import Path

import pytest
from attrs import evolve as replace

from kd.events import REGISTRY
from kd.run import events as ev
from kd.training.events import TrainingFailed
from ledger import create_ledger
from ledger.record import Meta
from tests.tui.ledgers import ALPHA, open_run_rows
from tests.views.examples import config, step

EVIL = "\x1b]0;PWNED\x07\x1b[31mred\x1b[0m\x9b32m\u202eback\u2066\x08\x7f"
SECRET = "sk-plantedplantedplanted1234"
_KNOWN = re.compile(
    rb"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b[=>78]|\x1b\[[0-9;?]*\$[a-z]|\x1b\][0-9]+;[^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\|\x1b_[^\x1b]*\x1b\\"
)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A failed run with escapes and a secret in names, reasons, actors and a blob; its writer knew no redactor."""
    with create_ledger(tmp_path / "ledger", origin="evil.invalid/tui", registry=REGISTRY) as store:
        blob = store.blobs.put_bytes(f"blob {EVIL} {SECRET}".encode())
        for stream, event, _ in open_run_rows(ALPHA, blob, 0):
            if isinstance(event, ev.RunPlanned):
                event = replace(event, environment={f"machine {EVIL}": f"{EVIL} {SECRET}"}, config=config())
            store.append(stream, [event], meta=Meta(actor=f"ana{EVIL}"))
        store.append(*_row(step(1, 1, run=ALPHA)))
        reason = f"loss {EVIL} with {SECRET}"
        store.append(f"run/{ALPHA}/training", [TrainingFailed(step=EVIL, reason=reason, is_retryable=True)])
        store.append(f"run/{ALPHA}", [ev.RunFailed(stage="training", reason=reason, is_retryable=True)])
    return tmp_path / "ledger"


def _row(row: tuple[str, object, float]) -> tuple[str, list[object]]:
    return row[0], [row[1]]


class _Terminal:
    """The application on a terminal of 120 columns and 40 rows, and all that it wrote."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PLANTED_API_KEY": SECRET}
            os.execv(sys.executable, [sys.executable, "-m", "tui", *arguments])  # noqa: S606  # a list, no shell
        termios.tcsetwinsize(self.descriptor, (40, 120))
        self.written = b""

    def read_until(self, *wanted: bytes) -> None:
        """Read until all of `wanted` have been written since."""
        start, deadline = len(self.written), time.monotonic() + 30
        while not all(word in self.written[start:] for word in wanted):
            assert time.monotonic() < deadline, (wanted, self.written[start:][-2000:])
            if not self._read(0.2):
                continue

    def press(self, keys: bytes, *wanted: bytes) -> None:
        os.write(self.descriptor, keys)
        self.read_until(*wanted)

    def end(self) -> int:
        """The exit code, once it has ended."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.descriptor)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it never ended")

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        if not ready:
            return False
        try:
            self.written += os.read(self.descriptor, 65_536)
        except OSError:
            return False
        return True


def test_a_terminal_gets_no_sequence_that_the_application_did_not_write(ledger: Path) -> None:
    """All screens over a hostile ledger: no foreign escape, no bidi control, no secret; and the terminal is given back."""
    terminal = _Terminal("--ledger", str(ledger), ALPHA)
    terminal.read_until(b"alpha")
    for key, seen in (
        (b"1", b"runs"),
        (b"4", b"ledger"),
        (b"3", b"timeline"),
        (b"5", b"data"),
        (b"6", b"evaluation"),
        (b"7", b"governance"),
        (b"2", b"run"),
    ):
        terminal.press(key, seen)
    terminal.press(b"4", b"ledger")
    terminal.press(b"k" * 3, b"training")
    terminal.press(b"\r", b"payload")
    os.write(terminal.descriptor, b"q")
    assert terminal.end() == 0
    written = terminal.written
    assert b"PWNED" in written  # it is shown
    assert b"\x1b]0;PWNED" not in written
    assert b"\x1b[31mred" not in written
    assert SECRET.encode() not in written
    for character in ("\x9b", "\u202e", "\u2066"):
        assert character.encode() not in written
    rest = _KNOWN.sub(b"", written)
    assert b"\x1b" not in rest
    assert b"\x1b[?1049l" in written  # the screen that was there before is back


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_gives_the_terminal_back(ledger: Path, number: signal.Signals) -> None:
    """The settings are those of before, and the exit code is 0."""
    terminal = _Terminal("--ledger", str(ledger))
    terminal.read_until(b"alpha")
    os.kill(terminal.pid, number)
    assert terminal.end() == 0
    assert b"\x1b[?1049l" in terminal.written
