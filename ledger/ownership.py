"""Who owns a run: one living process, proven by a lock of the kernel, so that death shows at once.

A claim is also a record, and its place in the stream `own/<run>` is the owner's fence: an append that carries the
guard of an earlier owner is refused, even if that owner has not noticed that it was replaced.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path
from types import TracebackType

from ledger.disk import boot_id, host_name, lock_holder
from ledger.errors import AlreadyOwnedError, FencedError, VersionConflictError, write_error
from ledger.events import OWNER_STREAMS, OwnerClaimed, OwnerReleased
from ledger.forks import watch_forks
from ledger.layout import Layout
from ledger.record import Guard
from ledger.segments import FileStore

__all__ = ["Ownership", "claim", "is_owned", "wait_for_death"]

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,180}")
_RESERVED = frozenset({"index", "tree"})
_CLAIM_SECONDS = 0.05
"""Whoever asks whether a run is owned holds its lock for microseconds; a claim outlasts that."""
_LOOK_SECONDS = 0.001


class Ownership:
    """This process owns `run` until it releases it or dies."""

    def __init__(self, store: FileStore, run: str, lock: int, fence: int) -> None:
        self.run = run
        self.fence = fence
        """Number of this owner; later owners have higher ones."""
        self._store = store
        self._lock = lock
        watch_forks(self)

    @property
    def guard(self) -> Guard:
        """The condition that every append of the owner carries."""
        return Guard(stream=OWNER_STREAMS + self.run, version=self.fence)

    def release(self) -> None:
        """Let go of the run; a later claim by another owner is no error here."""
        if self._lock < 0:
            return
        try:
            self._store.append(self.guard.stream, [OwnerReleased(run=self.run, fence=self.fence)], guards=[self.guard])
        except FencedError:
            pass  # it is another's by now
        finally:
            self._close()

    def __enter__(self) -> Ownership:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def before_fork(self) -> None:
        """Nothing is under way that a fork could cut in two."""

    def after_fork_in_parent(self) -> None:
        """The parent goes on owning."""

    def after_fork_in_child(self) -> None:
        """A child that kept the lock would keep it when the owner is dead."""
        self._close()

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def claim(store: FileStore, run: str, actor: str) -> Ownership:
    """Own `run` from now on; AlreadyOwnedError if another living process does."""
    path = _lock_path(store.path, run)
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(error, f"The lock of run {run!r}") from error
    try:
        _take(lock, path, run)
        stream = OWNER_STREAMS + run
        while True:
            version = store.version(stream)
            event = OwnerClaimed(run=run, host=host_name(), pid=os.getpid(), boot_id=boot_id(), actor=actor)
            try:
                appended = store.append(stream, [event], expected=version)
            except VersionConflictError:
                continue  # an owner whose lock file was replaced has just let go
            return Ownership(store, run, lock, appended.version)
    except BaseException:
        os.close(lock)
        raise


def is_owned(path: str | os.PathLike[str], run: str) -> bool:
    """Whether a living process owns `run` of the ledger at `path`; a stopped process lives."""
    try:
        lock = os.open(_lock_path(Path(path), run), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def wait_for_death(path: str | os.PathLike[str], run: str, timeout_seconds: float) -> bool:
    """Whether nobody owns `run` any more; returns within about a millisecond of its owner's end, or after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while is_owned(path, run):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _take(lock: int, path: Path, run: str) -> None:
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise AlreadyOwnedError(run, lock_holder(path)) from None
            time.sleep(_LOOK_SECONDS)


def _lock_path(root: Path, run: str) -> Path:
    if _RUN.fullmatch(run) is None:
        raise ValueError(f"The run {run!r} is not named by 1 to 181 letters, digits, '.', '_' and '-'.")
    if run in _RESERVED:
        raise ValueError(f"The run {run!r} has a name that the ledger needs for a lock of its own: choose another.")
    return Layout(root).owner_lock(run)
