"""States folded out of records, from the first record on or from a stored state of before.

A projection is a pure function of the lines: the same state for every process and store. A stored state is used only if
the ledger holds its chain hash at its position; otherwise everything is folded again. An audit gives no index, so that
it trusts nothing but the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from ledger.errors import CorruptError, TamperedError, UnknownEventError
from ledger.events import LedgerCreated
from ledger.record import Cursor, Record, UnknownEvent
from ledger.store import Store, Tail

__all__ = ["Projection", "Projector", "Snapshot", "Snapshots", "project"]

S = TypeVar("S")


@frozen(kw_only=True)
class Projection(Generic[S]):
    """A state as a fold over the records whose stream and event name match the globs."""

    name: str
    version: int
    """To be raised whenever `apply` or the form of the state changes: states stored under another one are not used."""
    streams: str = "*"
    names: str = "*"
    initial: S
    apply: Callable[[S, Record], S]
    """The next state; it changes neither argument."""
    dump: Callable[[S], bytes]
    load: Callable[[bytes], S]
    """The inverse of `dump`."""

    def fold(self, state: S, records: Iterable[Record]) -> S:
        """The state behind `records`.

        Raises UnknownEventError at an event that this program has no class for: the state after it cannot be known.
        """
        apply = self.apply
        for record in records:
            if isinstance(record.event, UnknownEvent):
                raise UnknownEventError(record.event.name, record.event.version)
            state = apply(state, record)
        return state


@frozen(kw_only=True)
class Snapshot:
    """A projection's state behind the first `cursor.position` records."""

    projection: str
    version: int
    cursor: Cursor
    state: bytes


class Snapshots(Protocol):
    """Where states are kept; whatever it answers is held against the ledger."""

    @property
    def every_records(self) -> int:
        """How far apart states are kept."""
        ...

    def snapshot_before(self, projection: str, version: int, position: int | None) -> Snapshot | None:
        """The last state of at most `position` records; None stands for all."""
        ...

    def keep(self, snapshot: Snapshot) -> None: ...

    def drop(self, snapshot: Snapshot) -> None:
        """Forget a state that is none of this ledger's."""
        ...


class Projector(Generic[S]):
    """Keeps a projection's state in step with a store: `advance` folds what has come since."""

    def __init__(self, store: Store, projection: Projection[S], *, index: Snapshots | None = None) -> None:
        self._store = store
        self._projection = projection
        self._index = index
        self._tail: Tail | None
        self.state, self._tail = _begin(store, projection, None, index)
        self.cursor = self._tail.cursor
        """The place behind the last record that was looked at."""
        self._kept = self.cursor.position

    def advance(self) -> S:
        """Fold all new records; the state. After an error the next call begins where the last good one ended."""
        if self._tail is None:
            self._tail = self._store.tail(self.cursor, streams=self._projection.streams, names=self._projection.names)
        try:
            while records := self._tail.read():
                self._take(self._projection.fold(self.state, records), self._tail.cursor)
            self._take(self.state, self._tail.cursor)
        except BaseException:
            self.close()
            raise
        return self.state

    def close(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            tail.close()

    def _take(self, state: S, cursor: Cursor) -> None:
        self.state, self.cursor = state, cursor
        if self._index is not None and cursor.position - self._kept >= self._index.every_records:
            self._kept = cursor.position
            self._index.keep(_snapshot(self._projection, state, cursor))


def project(store: Store, projection: Projection[S], *, at: int | None = None, index: Snapshots | None = None) -> S:
    """The state behind all records, or behind those up to position `at`; a position inside a batch counts as the batch's start."""
    if at is None:
        with closing(Projector(store, projection, index=index)) as projector:
            return projector.advance()
    state, tail = _begin(store, projection, at + 1, index)
    tail.close()
    records = store.scan(start=tail.cursor.position, stop=at + 1, streams=projection.streams, names=projection.names)
    return projection.fold(state, (each for each in records if each.position - each.batch_index + each.batch_size <= at))


def _begin(store: Store, projection: Projection[S], position: int | None, index: Snapshots | None) -> tuple[S, Tail]:
    """The last stored state of at most `position` records that is one of this ledger's, or the first of all; what comes behind it."""
    while index is not None and (found := index.snapshot_before(projection.name, projection.version, position)) is not None:
        try:
            tail = store.tail(found.cursor, streams=projection.streams, names=projection.names)
        except (CorruptError, TamperedError):  # if the ledger is damaged, folding it from its start will say so
            index.drop(found)
            continue
        try:
            return projection.load(found.state), tail
        except Exception:  # what cannot be loaded was stored by other code under the same version: it is only a shortcut
            tail.close()
            index.drop(found)
    return projection.initial, store.tail(_genesis(store), streams=projection.streams, names=projection.names)


def _snapshot(projection: Projection[S], state: S, cursor: Cursor) -> Snapshot:
    return Snapshot(projection=projection.name, version=projection.version, cursor=cursor, state=projection.dump(state))


def _genesis(store: Store) -> Cursor:
    created = next(store.scan(stop=1)).event
    if not isinstance(created, LedgerCreated):
        raise TamperedError("its first record is not that of a creation")
    return Cursor.genesis(created.origin)
