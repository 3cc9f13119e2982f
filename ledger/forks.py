"""What a fork does to open handles: the child's are closed, the parent's go on.

A lock of a file belongs to all copies of its descriptor: a copy in a child would keep a dead owner's lock held, and
an unlock in a child would free its parent's.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["ForkAware", "watch_forks"]


class ForkAware(Protocol):
    """A handle that holds descriptors or mutexes."""

    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


_handles: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_held: list[ForkAware] = []


def watch_forks(handle: ForkAware) -> None:
    """Have `handle` told of every fork as long as it lives."""
    _handles.add(handle)


def _before() -> None:
    for handle in sorted(_handles, key=id):
        handle.before_fork()
        _held.append(handle)


def _in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()


def _in_child() -> None:
    while _held:
        _held.pop().after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
