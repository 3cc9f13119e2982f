"""The terminal itself: it may go away, stop taking output, or send what is no text."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.tui.ledgers import make_ledger
from tests.tui.pilots import digest_of

_PATIENCE_SECONDS = 30.0
_NUM_SIZES, _RESIZING_SECONDS = 200, 2.0


class _Viewer:
    """The application on a terminal that is nobody's controlling one: no signal tells it that the terminal has gone."""

    def __init__(self, ledger: Path, *, wrapper: Sequence[str] = ()) -> None:
        self._master: int | None
        self._master, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (40, 120))
        self.settings = termios.tcgetattr(self.terminal)
        command = [*wrapper, sys.executable, "-m", "tui", "--ledger", str(ledger)]
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

    def read(self) -> None:
        """Read what has been drawn, and forget it."""
        assert self._master is not None
        while select.select([self._master], [], [], 0)[0]:
            os.read(self._master, 65_536)

    def has_stopped(self) -> bool:
        """Whether the process stands still, told once."""
        return bool(os.waitpid(self.process.pid, os.WNOHANG | os.WUNTRACED)[0])

    def leave(self) -> None:
        """Press q, and see it end in order."""
        self.type(b"q")
        self.wait_for(b"\x1b[?1049l")
        assert self.process.wait(_PATIENCE_SECONDS) == 0

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


def test_it_can_be_suspended_and_comes_back(viewer: _Viewer) -> None:
    """While it stands still the terminal is the shell's; afterwards all is drawn anew and keys are read."""
    viewer.process.send_signal(signal.SIGTSTP)
    viewer.wait_for(b"\x1b[?1049l")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not viewer.has_stopped():
        assert time.monotonic() < deadline
    assert termios.tcgetattr(viewer.terminal) == viewer.settings
    viewer.process.send_signal(signal.SIGCONT)
    viewer.wait_for(b"\x1b[?1049h")
    viewer.wait_for(b"alpha")
    viewer.wait_for(b"ledger", typing=b"4")
    viewer.leave()
    assert termios.tcgetattr(viewer.terminal) == viewer.settings


def test_a_ledger_that_goes_away_leaves_the_terminal_usable(viewer: _Viewer, tmp_path: Path) -> None:
    """The sentence is on screen, no traceback is, and leaving is as it always is."""
    shutil.rmtree(tmp_path / "ledger")
    viewer.wait_for(b"is gone: what is shown was read before")
    viewer.type(b"3,4{5")
    viewer.leave()
    assert termios.tcgetattr(viewer.terminal) == viewer.settings


def test_two_hundred_sizes_in_two_seconds(viewer: _Viewer) -> None:
    """The last one is drawn whole, and the next key is answered."""
    began = time.monotonic()
    for number in range(_NUM_SIZES):
        termios.tcsetwinsize(viewer.terminal, (10 + number * 7 % 50, 30 + number * 11 % 150))
        viewer.process.send_signal(signal.SIGWINCH)
        viewer.read()
        while time.monotonic() - began < (number + 1) * _RESIZING_SECONDS / _NUM_SIZES:
            viewer.read()
    termios.tcsetwinsize(viewer.terminal, (40, 120))
    viewer.process.send_signal(signal.SIGWINCH)
    viewer.wait_for(b"READ-ONLY", typing=b"\x12")
    viewer.wait_for(b"ledger", typing=b"4")
    viewer.leave()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes anywhere, and setpriv is not here to stop it"
)
def test_a_folder_that_cannot_be_written_to_can_be_watched(tmp_path: Path) -> None:
    """As on a medium that takes no writes, where root too may only read."""
    ledger = tmp_path / "ledger"
    make_ledger(ledger).close()
    before = digest_of(ledger)
    for path in (ledger, *ledger.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    viewer = _Viewer(ledger, wrapper=("setpriv", "--bounding-set", "-dac_override") if os.geteuid() == 0 else ())
    try:
        viewer.wait_for(b"alpha")
        for key in (b"1", b"2", b"3", b"4", b"5"):
            viewer.type(key)
        viewer.wait_for(b"blob")
        viewer.leave()
    finally:
        viewer.close()
        for path in (ledger, *ledger.rglob("*")):
            path.chmod(0o755)
    assert digest_of(ledger) == before


def test_bytes_that_are_no_text_are_no_keys(viewer: _Viewer) -> None:
    """They are passed over, with what came in the same piece, and the next key does what it does."""
    viewer.type(b"\xff\xfe")
    viewer.wait_for(b"ledger", typing=b"4")
    viewer.leave()
