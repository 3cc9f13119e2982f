"""SQLite as applications use it for durable rows: WAL, synchronous=FULL, one transaction a row."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

from tests.bench.peers.timing import NOTE, timed

__all__ = ["Subject"]


class Subject:
    """One connection."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._rows = sqlite3.connect(folder / "rows.sqlite", timeout=120, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode=WAL")
        self._rows.execute("PRAGMA synchronous=FULL")
        self._rows.execute(
            "CREATE TABLE IF NOT EXISTS record (q INTEGER PRIMARY KEY, stream TEXT, v INTEGER, line TEXT, UNIQUE (stream, v))"
        )
        self._stream, self._version = f"run/{os.getpid()}", 0

    def durable(self, n: int) -> dict[str, float]:
        """One row at a time, each committed to the disk before the next."""
        return timed(self._append, n)

    def close(self) -> None:
        """Let go of the file."""
        self._rows.close()

    def _append(self, number: int) -> None:
        line = json.dumps({"step": number, "sent_ns": time.monotonic_ns(), "note": NOTE, "chain": "x" * 80})
        self._rows.execute("BEGIN IMMEDIATE")
        self._rows.execute("INSERT INTO record (stream, v, line) VALUES (?, ?, ?)", (self._stream, self._version, line))
        self._rows.execute("COMMIT")
        self._version += 1
