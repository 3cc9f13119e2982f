"""States of a fold at some positions, so that any other is a short fold away."""

from __future__ import annotations

import bisect
import threading
from typing import Generic, TypeVar

__all__ = ["KEYFRAME_RECORDS", "Keyframes"]

KEYFRAME_RECORDS = 1_024
"""Folding so many takes a few hundredths of a second."""
_MAX_KEYFRAMES = 1_024

T = TypeVar("T")


class Keyframes(Generic[T]):
    """At most 1,024 states about evenly spaced; when there are more, every other one is let go."""

    def __init__(self, initial: T, *, every: int = KEYFRAME_RECORDS, limit: int = _MAX_KEYFRAMES) -> None:
        self._every = every
        self._limit = limit
        self._positions = [0]
        self._states = [initial]
        self._mutex = threading.Lock()

    def is_due(self, position: int) -> bool:
        """Whether the state at `position` should be kept."""
        return position - self._positions[-1] >= self._every

    def keep(self, position: int, state: T) -> None:
        """Keep the state behind `position` records; positions only grow."""
        assert position > self._positions[-1]
        with self._mutex:
            self._positions.append(position)
            self._states.append(state)
            if len(self._positions) > self._limit:
                self._every *= 2
                self._positions[1:] = self._positions[2::2]
                self._states[1:] = self._states[2::2]

    def before(self, position: int) -> T:
        """The last state kept at or before `position`; any thread may ask."""
        with self._mutex:
            return self._states[bisect.bisect_right(self._positions, position) - 1]

    def __len__(self) -> int:
        return len(self._positions)
