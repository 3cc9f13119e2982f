"""An examination of `index.sqlite`: whether it says anything that the segments do not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any

from ledger.errors import LedgerError
from ledger.findings import Finding, finding
from ledger.index_file import IndexFile
from ledger.layout import Layout
from ledger.opening import open_ledger
from ledger.places import stands
from ledger.projection import Projection, Snapshot
from ledger.record import Cursor
from ledger.registry import Registry
from ledger.segments import FileStore

__all__ = ["index_findings"]


def index_findings(layout: Layout, origin: str, registry: Registry, projections: Sequence[Projection[Any]] = ()) -> list[Finding]:
    """A warning if the index is stale: garbled, or with a place or a state that the records do not lead to.

    `registry` must know the events of `projections`, whose stored states are folded again. Changes nothing.
    """
    if not layout.index.exists():
        return []
    is_still = not layout.index.with_name(f"{layout.index.name}-wal").exists()
    try:
        with closing(IndexFile.for_reading(layout.index, Cursor.genesis(origin).chain, is_still=is_still)) as file:
            mistake = _mistake(layout, file, registry, projections)
    except sqlite3.Error as error:
        mistake = f"cannot be read ({error})"
    return [] if mistake is None else [finding("index_stale", f"index.sqlite {mistake}.")]


def _mistake(layout: Layout, file: IndexFile, registry: Registry, projections: Sequence[Projection[Any]]) -> str | None:
    for place in file.places():
        if not stands(layout, place):
            return f"has a place at position {place.position} that is none"
    snapshots = list(file.snapshots())
    if not snapshots:
        return None
    try:
        with open_ledger(layout.root, registry=registry, write=False) as store:
            return next(_wrong_states(store, snapshots, projections), None)
    except LedgerError:
        return None  # what is wrong with the ledger itself is found by the other examinations


def _wrong_states(store: FileStore, snapshots: Iterable[Snapshot], projections: Sequence[Projection[Any]]) -> Iterator[str]:
    known = {(each.name, each.version): each for each in projections}
    for key, group in groupby(snapshots, key=lambda each: (each.projection, each.version)):
        projection, stored = known.get(key), list(group)
        for snapshot in stored:
            if _cursor(store, snapshot.cursor.position) != snapshot.cursor:
                yield f"has a state of {key[0]} at position {snapshot.cursor.position} of another history"
        if projection is not None:
            yield from _unlike_refolded(store, projection, stored)


def _unlike_refolded(store: FileStore, projection: Projection[Any], stored: Sequence[Snapshot]) -> Iterator[str]:
    """Fold once from the first record on, and hold each stored state against the state there."""
    state, start = projection.initial, 0
    for snapshot in stored:
        stop = snapshot.cursor.position
        state = projection.fold(state, store.scan(start=start, stop=stop, streams=projection.streams, names=projection.names))
        start = stop
        if projection.dump(state) != snapshot.state:
            yield f"has a state of {projection.name} at position {stop} that the records do not lead to"


def _cursor(store: FileStore, position: int) -> Cursor | None:
    record = next(store.scan(start=position - 1, stop=position), None)
    return None if record is None else record.cursor
