"""The floor: write and fdatasync of lines of the same size, and write alone."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.peers.timing import timed

__all__ = ["Subject"]

_LINE = b"x" * 399 + b"\n"


class Subject:
    """One file opened for appending."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def durable(self, n: int) -> dict[str, float]:
        """One line at a time, each on disk before the next."""

        def append(_: int) -> None:
            os.write(self._file, _LINE)
            os.fdatasync(self._file)

        return timed(append, n)

    def buffered(self, n: int) -> dict[str, float]:
        """One line at a time, to the system alone."""
        return timed(lambda _: os.write(self._file, _LINE), n)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
