"""The terminal that is drawn on: it may go away, or take nothing more, and the process ends all the same.

A terminal that went away is read as an endless end of file and fails every write, whether or not a signal tells of it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import IO, Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

__all__ = ["TerminalDriver", "run_in_terminal"]

_GRACE_SECONDS = 2.0
_NOT_IN_ORDER = 1


async def run_in_terminal(app: App[int], *, has_mouse: bool) -> int:
    """The exit code of `app`, which is left at SIGTERM, at SIGHUP and when its terminal goes away.

    If it cannot leave in order, as when the terminal takes no output, the terminal's settings are put back and the process ends.
    """
    ending = _Ending(app)
    if app.driver_class is LinuxDriver:
        app.driver_class = TerminalDriver
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ending.on_signal)  # the loop's own handlers would wait for a loop that may be held up
    return await app.run_async(mouse=has_mouse) or 0


class TerminalDriver(LinuxDriver):
    """Leaves the application when the terminal is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file: IO[str] = _Output(self._file, self._leave)  # type: ignore[assignment]  # what the writing thread needs of a file
        self._is_watched = False

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._watch, name="terminal", daemon=True).start()

    def run_input_thread(self) -> None:
        while True:
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                continue  # no key is typed so: go on behind these bytes
            except OSError:
                self._leave()
            return

    def _watch(self) -> None:
        """Wait, without being woken by keys, until the terminal is gone."""
        poll = select.poll()
        poll.register(self.fileno, 0)
        poll.poll()
        self._leave()

    def _leave(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)  # what should have been sent


class _Output:
    """Drops what is drawn once the terminal is gone, so that nobody waits for it to be written."""

    def __init__(self, file: IO[str], leave: Callable[[], None]) -> None:
        self._file = file
        self._leave = leave

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._lose()

    def fileno(self) -> int:
        return self._file.fileno()

    def _lose(self) -> None:
        """Let what is still to be written go nowhere; the interpreter would try again when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)
        self._leave()


class _Ending:
    """Leaves the application, or the process where that takes too long."""

    def __init__(self, app: App[int]) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._input = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
        self._settings = _settings_of(self._input)
        self._is_begun = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        last = threading.Timer(_GRACE_SECONDS, self._end)
        last.daemon = True
        last.start()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._app.exit, 0)

    def _end(self) -> None:
        if self._settings is not None:
            with suppress(termios.error):  # there may be no terminal any more
                termios.tcsetattr(self._input, termios.TCSANOW, self._settings)
        os._exit(_NOT_IN_ORDER)


def _settings_of(descriptor: int) -> list[Any] | None:
    """The terminal's settings; None if it is none."""
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:
        return None
