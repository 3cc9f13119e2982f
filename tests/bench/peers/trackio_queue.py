"""trackio: `log` puts a row into a queue of the process."""

from __future__ import annotations

import os
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.peers.timing import NOTE, die, timed

__all__ = ["Subject"]


class Subject:
    """One run of one project."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1", "TRACKIO_SHOW_DASHBOARD": "0"}
        self._folder = folder
        self._trackio: Any = None

    def buffered(self, n: int) -> dict[str, float]:
        """One row at a time."""
        if self._trackio is None:
            self._trackio = import_module("trackio")
            self._trackio.init(project="bench", embed=False, auto_log_gpu=False, auto_log_cpu=False)
        return timed(lambda number: self._trackio.log({"number": number, "loss_nats": number / 7, "note": NOTE}), n)

    def buffered_then_die(self, n: int) -> None:
        """The same, and a crash straight after the last call returned."""
        self.buffered(n)
        die()

    def count(self, _: int) -> dict[str, float]:
        """Rows that are there."""
        count = 0
        for path in self._folder.glob("**/*.db"):
            rows = sqlite3.connect(path)
            count += rows.execute("SELECT count(*) FROM metrics").fetchone()[0]
            rows.close()
        return {"count": count}

    def close(self) -> None:
        """Write what is queued."""
        if self._trackio is not None:
            self._trackio.finish()
