"""The tables of `index.sqlite`: places between batches, and states of projections.

Nothing in them is true by itself: places and chain hashes are held against the segments, states have a digest.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ledger.projection import Snapshot
from ledger.record import Cursor
from ledger.scanning import Place

__all__ = ["IndexFile", "is_garbled"]

_VERSION = 1
_WAIT_SECONDS = 5.0
_NO_SUCH_TABLE = 1
"""SQLITE_ERROR, the code of a statement that does not fit the file."""
_SCHEMA = f"""
CREATE TABLE ledger (genesis TEXT NOT NULL);
CREATE TABLE place (position INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset_bytes INTEGER NOT NULL, chain BLOB NOT NULL);
CREATE TABLE snapshot (
  projection TEXT NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL, chain TEXT NOT NULL, state BLOB NOT NULL,
  sha256 BLOB NOT NULL, PRIMARY KEY (projection, version, position)
);
PRAGMA user_version = {_VERSION};
"""


class IndexFile:
    """One open index of the ledger that begins at `genesis`; every method raises sqlite3.Error if the file is not what it should be."""

    def __init__(self, connection: sqlite3.Connection, genesis: str) -> None:
        self._connection = connection
        self._genesis = genesis

    @classmethod
    def for_writing(cls, path: Path, genesis: str) -> IndexFile:
        """The index at `path`, made if there is none; only one process may have it so."""
        return cls._made(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False), genesis)

    @classmethod
    def for_reading(cls, path: Path, genesis: str, *, is_still: bool = False) -> IndexFile:
        """The index at `path`, left exactly as it is; `is_still` says that nobody writes to it, and leaves no trace."""
        mode = "mode=ro&immutable=1" if is_still else "mode=ro"
        uri = f"{path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        return cls._checked(connection, genesis)

    @classmethod
    def in_memory(cls, genesis: str) -> IndexFile:
        """An index that lasts as long as the process."""
        return cls._made(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), genesis)

    def place_before(self, position: int) -> Place | None:
        row = self._row(
            "SELECT segment, offset_bytes, position, chain FROM place WHERE position <= ? ORDER BY position DESC LIMIT 1", position
        )
        return None if row is None else _place(row)

    def places(self) -> Iterator[Place]:
        """All places, in order."""
        return map(_place, _rows(self._connection, "SELECT segment, offset_bytes, position, chain FROM place ORDER BY position"))

    def keep_places(self, places: Iterable[Place]) -> None:
        rows = [(each.position, each.segment, each.offset, each.chain) for each in places]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def snapshot_before(self, projection: str, version: int, position: int | None) -> Snapshot | None:
        row = self._row(
            "SELECT projection, version, position, chain, state, sha256 FROM snapshot "
            "WHERE projection = ? AND version = ? AND position <= ? ORDER BY position DESC LIMIT 1",
            projection,
            version,
            2**62 if position is None else position,
        )
        return None if row is None else _snapshot(row)

    def snapshots(self) -> Iterator[Snapshot]:
        """All states, in order."""
        columns = "projection, version, position, chain, state, sha256"
        query = f"SELECT {columns} FROM snapshot ORDER BY projection, version, position"  # noqa: S608  # fixed words
        return map(_snapshot, _rows(self._connection, query))

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Store a state and where it stands at once; those of older versions of its projection go."""
        cursor = snapshot.cursor
        row = (snapshot.projection, snapshot.version, cursor.position, cursor.chain, snapshot.state, _digest(snapshot))
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("DELETE FROM snapshot WHERE projection = ? AND version < ?", row[:2])
        self._connection.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?, ?)", row)
        self._connection.execute("COMMIT")

    def drop_snapshot(self, snapshot: Snapshot) -> None:
        key = (snapshot.projection, snapshot.version, snapshot.cursor.position)
        self._connection.execute("DELETE FROM snapshot WHERE projection = ? AND version = ? AND position = ?", key)

    def drop_places(self) -> None:
        self._connection.execute("DELETE FROM place")

    def close(self) -> None:
        self._connection.close()

    @classmethod
    def _made(cls, connection: sqlite3.Connection, genesis: str) -> IndexFile:
        try:
            for pragma in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"):
                list(_rows(connection, pragma))
            if list(_rows(connection, "SELECT count(*) FROM sqlite_master")) == [(0,)]:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
                connection.execute("INSERT INTO ledger VALUES (?)", (genesis,))
                connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            raise
        return cls._checked(connection, genesis)

    @classmethod
    def _checked(cls, connection: sqlite3.Connection, genesis: str) -> IndexFile:
        try:
            version = list(_rows(connection, "PRAGMA user_version"))
            if version != [(_VERSION,)] or list(_rows(connection, "SELECT genesis FROM ledger")) != [(genesis,)]:
                raise sqlite3.DatabaseError("it is no index of this ledger")
        except sqlite3.Error:
            connection.close()
            raise
        return cls(connection, genesis)

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return next(_rows(self._connection, query, *values), None)


def _rows(connection: sqlite3.Connection, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
    """What `query` finds; DatabaseError also where the file holds bytes that are no text, of which Python says something else."""
    try:
        yield from connection.execute(query, values)
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("it holds a text that is none") from error


def is_garbled(error: sqlite3.Error) -> bool:
    """Whether the file is not what it should be, and not only out of reach: locked, or on a full disk."""
    return not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorcode & 0xFF == _NO_SUCH_TABLE


def _place(row: tuple[Any, ...]) -> Place:
    segment, offset, position, chain = row
    if not (_are_counts(segment, offset, position) and isinstance(chain, bytes) and len(chain) == 32):
        raise sqlite3.DatabaseError("a place is none")
    return Place(segment, offset, position, chain)


def _snapshot(row: tuple[Any, ...]) -> Snapshot:
    projection, version, position, chain, state, sha256 = row
    is_typed = isinstance(projection, str) and isinstance(chain, str) and isinstance(state, bytes) and _are_counts(version, position)
    if not is_typed:
        raise sqlite3.DatabaseError("a stored state is none")
    snapshot = Snapshot(projection=projection, version=version, cursor=Cursor(position=position, chain=chain), state=state)
    if _digest(snapshot) != sha256:
        raise sqlite3.DatabaseError("a stored state is not what was stored")
    return snapshot


def _are_counts(*values: object) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)


def _digest(snapshot: Snapshot) -> bytes:
    """SHA-256 of everything that the row says."""
    cursor = snapshot.cursor
    head = f"{snapshot.projection}\n{snapshot.version}\n{cursor.position}\n{cursor.chain}\n"
    return hashlib.sha256(head.encode() + snapshot.state).digest()
