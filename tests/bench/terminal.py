"""A program in a terminal of its own, watched byte by byte: what it is sent, what it draws, and when."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

__all__ = ["Terminal"]


class Terminal:
    """`command` in a pseudo-terminal of `columns` by `rows`; ended at once when the block is left."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, columns: int = 120, rows: int = 40
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._changed = threading.Condition()
        self._drawn = bytearray()
        self._arrivals: list[tuple[int, float]] = []
        self.started = time.perf_counter()
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment, start_new_session=True)
        os.close(slave)
        self.process = psutil.Process(self._process.pid)
        threading.Thread(target=self._read, name="terminal", daemon=True).start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def position(self) -> int:
        """Bytes drawn so far."""
        with self._changed:
            return len(self._drawn)

    def send(self, keys: bytes) -> float:
        """Type `keys`; the moment they were sent."""
        moment = time.perf_counter()
        os.write(self._master, keys)
        return moment

    def wait_for(self, wanted: bytes, *, since: int = 0, timeout: float = 60.0) -> float:
        """The moment at which `wanted` had been drawn behind byte `since`; TimeoutError with what was drawn instead."""
        deadline = time.perf_counter() + timeout
        with self._changed:
            while True:
                found = self._drawn.find(wanted, since)
                if found >= 0:
                    return self._arrival(found + len(wanted))
                if not self._changed.wait(max(deadline - time.perf_counter(), 0)):
                    raise TimeoutError(f"{wanted!r} was not drawn within {timeout:g} s; the last was {bytes(self._drawn[-2000:])!r}")

    def has_drawn(self, wanted: bytes) -> bool:
        """Whether `wanted` was drawn so far."""
        with self._changed:
            return wanted in self._drawn

    def wait_for_any(self, *, since: int, timeout: float = 10.0) -> float:
        """The moment at which anything was drawn behind byte `since`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._drawn) > since, timeout):
                raise TimeoutError("nothing was drawn")
            return self._arrival(since + 1)

    def wait_until_quiet(self, seconds: float = 0.15, *, at_most: float = 5.0) -> None:
        """Return once nothing was drawn for so long, or after `at_most` seconds of a program that always draws."""
        deadline = time.perf_counter() + at_most
        with self._changed:
            while self._changed.wait(seconds) and time.perf_counter() < deadline:
                pass

    def leave(self, keys: bytes = b"q") -> int:
        """Ask the program to end; its exit code."""
        self.send(keys)
        return self._process.wait(timeout=30)

    def _arrival(self, end: int) -> float:
        return next(moment for num_bytes, moment in self._arrivals if num_bytes >= end)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the program ended and nobody holds its side any more
                return
            with self._changed:
                self._drawn += data
                self._arrivals.append((len(self._drawn), time.perf_counter()))
                self._changed.notify_all()
