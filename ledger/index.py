"""What makes opening a long ledger and replaying it short: `index.sqlite`, which can be thrown away at any time.

It holds a place about every thousand records and states of projections. No append reads it. Its one writer holds
`own/index.lock`, also while closing; other processes read it, and where the folder cannot be written to it is kept in
memory. Whatever it says is verified by the chain before it is used; a missing or garbled index is made anew, and the
answers are the same.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

from ledger.forks import watch_forks
from ledger.index_file import IndexFile, is_garbled
from ledger.layout import Layout
from ledger.places import stands
from ledger.projection import Snapshot
from ledger.record import Cursor
from ledger.scanning import Place
from ledger.segments import FileStore
from ledger.settings import LedgerSettings

__all__ = ["Index", "open_index"]

T = TypeVar("T")
_EVERYTHING = 2**62
_SUFFIXES = ("", "-wal", "-shm", "-journal")


class Index:
    """The index of an open store; `open_index` makes one. Safe from any thread."""

    def __init__(self, store: FileStore, *, write: bool, every_records: int) -> None:
        self.every_records = every_records
        """How far apart states of projections are kept."""
        self._store = store
        self._path = Layout(store.path).index
        self._genesis = Cursor.genesis(store.origin).chain
        self._mutex = threading.RLock()
        self._stored: set[int] = set()
        self._is_checked = False
        self._lock = _try_lock(Layout(store.path).index_lock) if write else None
        self._file: IndexFile | None = None
        self._use()
        watch_forks(self)

    @property
    def kind(self) -> Literal["writer", "reader", "memory", "closed"]:
        """Whether this handle writes the file, reads what another writes, or keeps an index of its own in memory."""
        if self._file is None:
            return "closed"
        return "writer" if self._lock is not None else "reader" if self._is_reader else "memory"

    def update(self) -> None:
        """Read all records behind the last known place, so that a place is known about every thousand.

        The first time, every known place is held against the segments.
        """
        if not self._is_checked:
            self._is_checked = True
            layout = Layout(self._store.path)
            if not self._ask(lambda file: all(stands(layout, place) for place in file.places())):
                self.distrust()
        last = self.place_before(_EVERYTHING)
        deque(self._store.lines(0 if last is None else last.position), maxlen=0)
        self.flush()

    def flush(self) -> None:
        """Store the places that the store has been to; one at its end is left out, as nothing stands there that could prove it."""
        if self._lock is None:
            return
        end = self._store.end().position
        with self._mutex:
            new = [each for each in self._store.known_places() if each.position < end and each.position not in self._stored]
            if new:
                self._ask(lambda file: file.keep_places(new))
                self._stored.update(each.position for each in new)

    def place_before(self, position: int) -> Place | None:
        """The last stored place at or before `position`."""
        return self._ask(lambda file: file.place_before(position))

    def distrust(self) -> None:
        """Forget all places: one of them was none of this ledger's."""
        if self.kind == "reader":
            self._keep_in_memory()
        self._ask(lambda file: file.drop_places())
        self._stored.clear()

    def snapshot_before(self, projection: str, version: int, position: int | None) -> Snapshot | None:
        """The last stored state of at most `position` records; None stands for all."""
        return self._ask(lambda file: file.snapshot_before(projection, version, position))

    def keep(self, snapshot: Snapshot) -> None:
        """Store a state; a process that only reads the index goes on without."""
        if self.kind != "reader":
            self._ask(lambda file: file.keep_snapshot(snapshot))

    def drop(self, snapshot: Snapshot) -> None:
        """Forget a state that is none of this ledger's; a process that only reads the index forgets all of it."""
        if self.kind == "reader":
            self._keep_in_memory()
        else:
            self._ask(lambda file: file.drop_snapshot(snapshot))

    def close(self) -> None:
        """Store what is known and let another process write; the store must still be open."""
        if self._file is None:
            return
        try:
            self.flush()
            self._store.use_places(None)
        finally:
            with self._mutex:
                self._file.close()
                self._file = None
                self._unlock()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def before_fork(self) -> None:
        """Nothing is under way that a fork could cut in two: the child never touches the file."""

    def after_fork_in_parent(self) -> None:
        """The parent goes on."""

    def after_fork_in_child(self) -> None:
        """Let go of the lock, which is the parent's, and leave its connection alone."""
        _left_to_parents.append(self._file)
        self._file = None
        self._mutex = threading.RLock()
        self._unlock()

    def _use(self) -> None:
        """Open the file as this process may: as its writer, as a reader, or one in memory."""
        self._is_reader = False
        if self._lock is not None:
            self._file = _opened(lambda: IndexFile.for_writing(self._path, self._genesis), self._path)
            if self._file is not None:
                return
            self._unlock()
        elif self._path.exists():
            try:
                self._file = IndexFile.for_reading(self._path, self._genesis)
                self._is_reader = True
                return
            except sqlite3.Error:
                pass  # what cannot be read is as good as none
        self._keep_in_memory()

    def _keep_in_memory(self) -> None:
        if self._file is not None:
            self._file.close()
        self._is_reader = False
        self._file = IndexFile.in_memory(self._genesis)

    def _ask(self, question: Callable[[IndexFile], T]) -> T | None:
        """The answer of the file; None, and a new file, if it is garbled."""
        with self._mutex:
            if self._file is None:
                return None
            try:
                return question(self._file)
            except OverflowError:
                return None  # no position is so large
            except sqlite3.Error as error:
                if is_garbled(error):
                    self._make_anew()
                else:
                    self._stop_writing()  # a full disk, say: the file is left to itself
            return None

    def _stop_writing(self) -> None:
        self._keep_in_memory()
        self._unlock()

    def _make_anew(self) -> None:
        if self._lock is None:
            self._keep_in_memory()
            return
        assert self._file is not None
        self._file.close()
        self._file = None
        self._stored.clear()
        _remove(self._path)
        self._use()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


_left_to_parents: list[IndexFile | None] = []
"""Connections of before a fork: closing one here would meddle with the parent's."""


def open_index(store: FileStore, *, write: bool = True, settings: LedgerSettings | None = None) -> Index:
    """The index of `store`, which from now on also begins reading at places that the index knows.

    Without `write`, or while another process writes it, it is only read. Close it before the store.
    """
    index = Index(store, write=write, every_records=(LedgerSettings() if settings is None else settings).snapshot_every_records)
    store.use_places(index)
    return index


def _try_lock(path: Path) -> int | None:
    """A lock on `path` that no other handle holds; None if one does, or if nothing can be written there."""
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _opened(make: Callable[[], IndexFile], path: Path) -> IndexFile | None:
    """The file, made anew if it is garbled; None if the system lets nobody have one."""
    for _ in range(2):
        try:
            return make()
        except sqlite3.Error as error:
            if not is_garbled(error) or not _remove(path):
                return None
    return None


def _remove(path: Path) -> bool:
    try:
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError:
        return False
    return True
