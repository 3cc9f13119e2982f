"""A terminal that people use, driven by tests: a private tmux server with one window."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

__all__ = ["MISSING", "Tmux"]

MISSING = shutil.which("tmux") is None
"""There is no tmux here."""
_LOOK_SECONDS = 0.05


class Tmux:
    """A shell in a window of `columns` by `rows`; ended when the block is left."""

    def __init__(self, folder: Path, env: Mapping[str, str], *, columns: int = 120, rows: int = 40) -> None:
        self._command = ["tmux", "-L", f"kd-{secrets.token_hex(6)}", "-f", "/dev/null"]
        size = ("-x", str(columns), "-y", str(rows))
        subprocess.run([*self._command, "new-session", "-d", *size, "sh"], cwd=folder, env=dict(env), check=True, timeout=30)
        self._run("set-option", "-s", "set-clipboard", "on")

    def __enter__(self) -> Tmux:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run("kill-server")

    def type(self, text: str) -> None:
        """Type `text`, letter by letter."""
        self._run("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by the names that tmux has for them: `Enter`, `Escape`."""
        self._run("send-keys", *keys)

    def screen(self) -> str:
        """The characters that are seen."""
        return self._run("capture-pane", "-p")

    def clipboard(self) -> str:
        """What was copied last; nothing if nothing was."""
        return self._run("show-buffer") if self._run("list-buffers") else ""

    def line(self, words: str) -> str:
        """The line that holds `words`, with its colours."""
        return next((line for line in self._run("capture-pane", "-p", "-e").splitlines() if words in line), "")

    def wait_for(self, *wanted: str | Callable[[str], object], seconds: float) -> str:
        """The screen, once all of `wanted` hold for it; AssertionError after `seconds`."""
        tests = [(lambda screen, words=each: words in screen) if isinstance(each, str) else each for each in wanted]
        deadline = time.monotonic() + seconds
        while not all(test(screen := self.screen()) for test in tests):
            assert time.monotonic() < deadline, f"{wanted} did not come within {seconds:g} s:\n{screen}"
            time.sleep(_LOOK_SECONDS)
        return screen

    def _run(self, *arguments: str) -> str:
        finished = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=True, timeout=30)
        return finished.stdout
