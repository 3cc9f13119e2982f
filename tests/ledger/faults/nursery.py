"""Processes in a hurry: one that has imported everything forks as many workers as a fault needs.

A worker's words come through a named pipe, which keeps what was said when the worker is killed. A gated worker waits
until it is let go, so that a tracer can be attached to it first.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ledger.fsck import check_ledger
from ledger.index import open_index
from ledger.opening import create_ledger, open_ledger
from ledger.projection import project
from tests.ledger.examples import ORIGIN, REGISTRY
from tests.ledger.faults.tasks import TASKS
from tests.ledger.folds import STEPS

__all__ = ["Nursery", "Worker"]

_ROOT = Path(__file__).parents[3]
_PR_SET_PTRACER = 0x59616D61
_PIPE_BYTES = 4096
"""Who has said so much that nobody listened to waits, so that no storm is of one writer."""


class Worker:
    """One forked process."""

    def __init__(self, nursery: Nursery, pid: int, pipe: int, gate: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._pipe = os.fdopen(pipe, encoding="utf-8", errors="replace")
        self._gate = gate
        self._status: int | None = None

    def go(self) -> None:
        """Open the gate."""
        os.write(self._gate, b"\n")

    def line(self) -> str:
        """The next thing it says; empty at its end."""
        return self._pipe.readline().strip()

    def lines(self) -> list[str]:
        """All it says until its end."""
        said = self._pipe.read().splitlines()
        self.wait()
        return said

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status, negative for the signal that ended it."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(self._nursery.ask({"wait": self.pid}))
        return self._status

    def close(self) -> None:
        self.kill()
        self.wait()
        self._pipe.close()
        os.close(self._gate)


class Nursery:
    """Starts workers; all of them end with it. Its own files lie below `folder`."""

    def __init__(self, folder: Path, *prefix: str) -> None:
        self._folder = folder
        self._num_workers = 0
        command = [*prefix, sys.executable, "-m", "tests.ledger.faults.nursery"]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @contextmanager
    def worker(self, task: str, ledger: Path, argument: str = "", *, is_gated: bool = False) -> Iterator[Worker]:
        """A process doing `task`; killed on leaving."""
        self._num_workers += 1
        names = [self._folder / f"{kind}-{self._num_workers}" for kind in ("said", "gate")]
        for name in names:
            os.mkfifo(name)
        pipe, gate = os.open(names[0], os.O_RDONLY | os.O_NONBLOCK), os.open(names[1], os.O_RDWR)
        request = {
            "task": task,
            "ledger": str(ledger),
            "argument": argument,
            "said": str(names[0]),
            "gate": str(names[1]),
            "gated": is_gated,
        }
        worker = Worker(self, self.ask(request), pipe, gate)
        os.set_blocking(pipe, True)
        if sys.platform == "linux":
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        if is_gated:
            assert worker.line() == "ready"
        for name in names:
            name.unlink()
        try:
            yield worker
        finally:
            worker.close()

    def ask(self, request: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()


def _serve() -> None:
    """Fork or await, as each line of standard input says."""
    with tempfile.TemporaryDirectory() as folder:  # so that no worker imports anything while its system calls are counted
        create_ledger(Path(folder) / "ledger", origin=ORIGIN, registry=REGISTRY).close()
        with open_ledger(Path(folder) / "ledger", registry=REGISTRY) as store, open_index(store) as index:
            project(store, STEPS, index=index)
        check_ledger(Path(folder) / "ledger", "deep", registry=REGISTRY)
    for line in sys.stdin:
        request = json.loads(line)
        answer = os.waitpid(request["wait"], 0)[1] if "wait" in request else _fork(request)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _fork(request: dict[str, str]) -> int:
    said, gate = os.open(request["said"], os.O_WRONLY), os.open(request["gate"], os.O_RDWR)
    child = os.fork()
    if child == 0:
        _work(request, said, gate)
    os.close(said)
    os.close(gate)
    return child


def _work(request: dict[str, str], said: int, gate: int) -> None:
    """Never returns."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(said, 1)
        warnings.showwarning = lambda message, *_: _say(f"warning {message}")
        if request["gated"]:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            _say("ready")
            os.read(gate, 1)
        TASKS[request["task"]](Path(request["ledger"]), request["argument"], _say)
        status = 0
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _say(f"failed {type(error).__name__} {error} ({Path(place.filename).name}, line {place.lineno})")
        status = 1
    os._exit(status)


def _say(text: str) -> None:
    os.write(1, text.replace("\n", " ").encode() + b"\n")


if __name__ == "__main__":
    _serve()
