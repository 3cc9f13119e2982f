"""How a follower learns that a segment has grown: inotify, kqueue, or by looking often.

All three only say "look"; what is there is read the same way.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
from pathlib import Path
from typing import Any, Protocol, cast

__all__ = ["InotifyWatch", "KqueueWatch", "PollWatch", "Watch", "watch_folder"]

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x002, 0x080, 0x100
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class Watch(Protocol):
    """Something that wakes a follower, at times without need."""

    @property
    def check_seconds(self) -> float: ...

    def fileno(self) -> int | None: ...

    def drain(self) -> None: ...

    def move(self, segment: Path) -> None:
        """The segment that is read now is at `segment`."""
        ...

    def close(self) -> None: ...


def watch_folder(folder: Path, *, check_seconds: float, poll_seconds: float) -> Watch:
    """The best watch of `folder` that the system grants."""
    if sys.platform.startswith("linux"):
        try:
            return InotifyWatch(folder, check_seconds)
        except OSError:  # often only 128 instances are allowed
            return PollWatch(poll_seconds)
    if sys.platform == "darwin":
        return KqueueWatch(check_seconds)
    return PollWatch(poll_seconds)


class PollWatch:
    """Nothing wakes; the follower looks often."""

    def __init__(self, poll_seconds: float) -> None:
        self.check_seconds = poll_seconds

    def fileno(self) -> int | None:
        return None

    def drain(self) -> None:
        pass

    def move(self, segment: Path) -> None:
        pass

    def close(self) -> None:
        pass


class InotifyWatch:
    """One inotify watch on the folder of segments."""

    def __init__(self, folder: Path, check_seconds: float) -> None:
        self.check_seconds = check_seconds
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = library.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        if library.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO) < 0:
            failure = ctypes.get_errno()
            os.close(self._descriptor)
            raise OSError(failure, "inotify_add_watch failed")

    def fileno(self) -> int | None:
        return self._descriptor

    def drain(self) -> None:
        try:
            while len(os.read(self._descriptor, 65_536)) > 32_768:
                pass
        except BlockingIOError:
            pass

    def move(self, segment: Path) -> None:
        pass

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class KqueueWatch:
    """A kernel queue on the segment that is read."""

    def __init__(self, check_seconds: float) -> None:
        self.check_seconds = check_seconds
        self._api: Any = select
        self._queue = self._api.kqueue()
        self._file = -1

    def fileno(self) -> int | None:
        return cast(int, self._queue.fileno())

    def drain(self) -> None:
        self._queue.control([], 64, 0)

    def move(self, segment: Path) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if segment.exists():
            self._file = os.open(segment, os.O_RDONLY)
            event = self._api.kevent(
                self._file,
                filter=self._api.KQ_FILTER_VNODE,
                flags=self._api.KQ_EV_ADD | self._api.KQ_EV_CLEAR,
                fflags=self._api.KQ_NOTE_WRITE | self._api.KQ_NOTE_EXTEND,
            )
            self._queue.control([event], 0, 0)

    def close(self) -> None:
        self._queue.close()
        if self._file >= 0:
            os.close(self._file)
