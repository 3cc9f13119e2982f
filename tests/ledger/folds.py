"""A projection of the ledger's example domain, and a way to spoil an index."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from ledger.projection import Projection
from ledger.record import Record
from tests.ledger.examples import Stepped

__all__ = ["STEPS", "Steps", "change_index", "count_rows"]

Steps = dict[str, int]


def _apply(state: Steps, record: Record) -> Steps:
    assert isinstance(record.event, Stepped)
    return {**state, record.stream: state.get(record.stream, 0) + record.event.step}


STEPS: Projection[Steps] = Projection(
    name="steps",
    version=1,
    streams="run/*",
    names="example.stepped",
    initial={},
    apply=_apply,
    dump=lambda state: json.dumps(state, sort_keys=True).encode(),
    load=json.loads,
)
"""The sum of the steps of each run."""


def change_index(ledger: Path, statement: str) -> None:
    """Change what the index of `ledger` says behind everyone's back."""
    with closing(sqlite3.connect(ledger / "index.sqlite")) as connection, connection:
        connection.execute(statement)


def count_rows(ledger: Path, table: str) -> int:
    """How many places or snapshots are stored."""
    with closing(sqlite3.connect(ledger / "index.sqlite")) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # a fixed word
