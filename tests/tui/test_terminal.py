"""The terminal itself: it may go away, stop taking output, or send what is no text."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.ledgers import make_ledger

_PATIENCE_SECONDS = 30.0


class _Viewer:
    """The application on a terminal that is nobody's controlling one: no signal tells it that the terminal has gone."""

    def __init__(self, ledger: Path) -> None:
        self._master: int | None
        self._master, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (40, 120))
        self.settings = termios.tcgetattr(self.terminal)
        command = [sys.executable, "-m", "tui", "--ledger", str(ledger)]
        environment = {**os.environ, "TERM": "xterm-256color"}
        end = self.terminal
        self.process = subprocess.Popen(command, start_new_session=True, env=environment, stdin=end, stdout=end, stderr=end)
        self._drawn = b""

    def type(self, keys: bytes) -> None:
        assert self._master is not None
        os.write(self._master, keys)

    def wait_for(self, wanted: bytes, *, typing: bytes = b"") -> None:
        """Read until `wanted` has been drawn since the last time, typing again and again meanwhile."""
        assert self._master is not None
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while wanted not in self._drawn:
            assert time.monotonic() < deadline, (wanted, self._drawn[-2000:])
            if typing:
                self.type(typing)
            if select.select([self._master], [], [], 0.2)[0]:
                self._drawn += os.read(self._master, 65_536)
        self._drawn = self._drawn.partition(wanted)[2]

    def take_terminal_away(self) -> None:
        assert self._master is not None
        os.close(self._master)
        self._master = None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for descriptor in (self._master, self.terminal):
            if descriptor is not None:
                os.close(descriptor)


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[_Viewer]:
    """The application, once it has drawn three runs."""
    make_ledger(tmp_path / "ledger").close()
    viewer = _Viewer(tmp_path / "ledger")
    try:
        viewer.wait_for(b"alpha")
        yield viewer
    finally:
        viewer.close()


def test_it_ends_when_its_terminal_goes_away(viewer: _Viewer) -> None:
    """Without any signal, in order."""
    viewer.take_terminal_away()
    assert viewer.process.wait(_PATIENCE_SECONDS) == 0


def test_it_ends_at_a_signal_though_the_terminal_takes_no_output(viewer: _Viewer) -> None:
    """What cannot be written is not waited for; the settings are those of before."""
    termios.tcflow(viewer.terminal, termios.TCOOFF)
    viewer.type(b"4123" * 20)
    viewer.process.send_signal(signal.SIGTERM)
    viewer.process.wait(_PATIENCE_SECONDS)
    assert termios.tcgetattr(viewer.terminal) == viewer.settings


def test_bytes_that_are_no_text_are_no_keys(viewer: _Viewer) -> None:
    """They are passed over, with what came in the same piece, and the next key does what it does."""
    viewer.type(b"\xff\xfe")
    viewer.wait_for(b"ledger", typing=b"4")
    viewer.type(b"q")
    viewer.wait_for(b"\x1b[?1049l")
    assert viewer.process.wait(_PATIENCE_SECONDS) == 0
