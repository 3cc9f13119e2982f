"""llm-audit-trail with its flush to disk switched on, and its verification."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.peers.timing import NOTE, timed

__all__ = ["Subject"]

_trail: Any = import_module("llm_audit_trail.core")


class Subject:
    """One logger; all processes write to one file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = str(folder / "audit.jsonl")
        self._durable: Any = _trail.AuditLogger(path=self._path, fsync=True)
        self._buffered: Any = _trail.AuditLogger(path=self._path)

    def durable(self, n: int) -> dict[str, float]:
        """One event at a time, each on disk before the next."""
        return timed(lambda number: self._emit(self._durable, number), n)

    def fill(self, n: int) -> dict[str, float]:
        """Events for reading."""
        return timed(lambda number: self._emit(self._buffered, number), n)

    def verify(self, _: int) -> dict[str, float]:
        """Its check of the whole chain."""
        begin = time.perf_counter()
        is_ok, report = _trail.verify_log(self._path)
        assert is_ok, report
        return {"seconds": time.perf_counter() - begin, "count": report["events"]}

    def close(self) -> None:
        """Nothing is kept open."""

    def _emit(self, logger: Any, number: int) -> None:
        logger.emit("bench.stepped", {"step": number, "sent_ns": time.monotonic_ns(), "note": NOTE[:40]})
