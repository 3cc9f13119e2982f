"""A teacher in a process of its own that cannot outlive its parent, however the parent ends.

The child reads its standard input, a pipe that only the parent holds open: at its end, even by SIGKILL of the parent, the child
exits at once. It announces its address in one line of JSON on its standard output.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kd.models.teacher import TeacherUnavailableError

__all__ = ["announcement", "end_with_parent", "start_teacher"]

_SERVE = (sys.executable, "-m", "kd", "teacher", "serve")
_SPIN_COUNT = "10000"
"""How long OpenMP threads spin before they sleep: its default starves a model whose processors are shared with other work."""


@contextmanager
def start_teacher(
    model: str | Path,
    *,
    threads: int = 2,
    arguments: Sequence[str] = (),
    timeout_seconds: float = 120.0,
    grace_seconds: float = 5.0,
    command: Sequence[str] = _SERVE,
) -> Iterator[str]:
    """The base URL of a server of `model`, a name or a folder, that runs until the context ends.

    `arguments` are further options of `kd teacher serve`. TeacherUnavailableError with the child's own words if it does not start.
    """
    line = [*command, str(model), "--port", "0", "--threads", str(threads), "--parent-pipe", *arguments]
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={"GOMP_SPINCOUNT": _SPIN_COUNT, **os.environ},
            start_new_session=True,  # Ctrl-C is for the parent, which lets replies in flight come home
        )
        try:
            yield _address(child, complaints, timeout_seconds)
        finally:
            _end(child, grace_seconds)


def announcement(base_url: str) -> str:
    """The line by which a child tells its address."""
    return json.dumps({"base_url": base_url})


def end_with_parent(descriptor: int, end: Callable[[int], None] = os._exit) -> None:
    """End this process with status 0 once the pipe `descriptor` is closed at its other end, whatever else is going on."""

    def wait() -> None:
        while os.read(descriptor, 4096):
            pass
        end(0)

    threading.Thread(target=wait, name="kd-parent-pipe", daemon=True).start()


def _address(child: subprocess.Popen[bytes], complaints: IO[bytes], timeout_seconds: float) -> str:
    """What the child announces."""
    assert child.stdout is not None
    ends = time.monotonic() + timeout_seconds
    heard = b""
    while b"\n" not in heard:
        if not select.select([child.stdout], [], [], max(ends - time.monotonic(), 0.0))[0]:
            raise TeacherUnavailableError(f"The teacher did not start within {timeout_seconds:g} s{_last_words(complaints)}.")
        piece = os.read(child.stdout.fileno(), 4096)
        if not piece:
            raise TeacherUnavailableError(f"The teacher did not start, exit code {child.wait()}{_last_words(complaints)}.")
        heard += piece
    return str(json.loads(heard.splitlines()[0])["base_url"])


def _last_words(complaints: IO[bytes]) -> str:
    """The last line that the child wrote to its standard error."""
    complaints.seek(0)
    lines = [line.strip() for line in complaints.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    return f": {lines[-1].rstrip('.')}" if lines else ""


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
