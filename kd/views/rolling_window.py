"""The last 200 numbers of a fold, in order of size: median, spread and percentiles in constant time and memory."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from attrs import field, frozen

from kd.views.shared_array import continued

__all__ = ["WINDOW", "Excess", "RecentNumbers", "RollingWindow"]

WINDOW = 200


@frozen(eq=False)
class RecentNumbers:
    """The last 200 numbers pushed; older ones are the same as they were."""

    _before: array[float] = field(factory=lambda: array("d"))
    """The 200 numbers before those of `_now`, or none."""
    _now: array[float] = field(factory=lambda: array("d"))
    """Shared with later states: only the first `_length` are this one's."""
    _length: int = 0

    def push(self, *values: float) -> RecentNumbers:
        """The same with `values` behind the others."""
        before, now, length = self._before, self._now, self._length
        start = 0
        while start < len(values):
            if length == WINDOW:
                before, now, length = now[:length], array("d"), 0
            more = array("d", values[start : start + WINDOW - length])
            now = continued(now, length, more)
            start, length = start + len(more), length + len(more)
        return RecentNumbers(before, now, length)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecentNumbers) and self.in_order() == other.in_order()

    def __hash__(self) -> int:
        return hash(self._length)

    def __len__(self) -> int:
        return WINDOW if self._before else self._length

    def in_order(self) -> array[float]:
        """The numbers in the order of their coming."""
        return self._before[self._length :] + self._now[: self._length]

    def window(self) -> RollingWindow:
        """The numbers in order of size."""
        return RollingWindow(array("d", sorted(self.in_order())), self)


@frozen
class Excess:
    """One of some numbers that is far above those before it."""

    index: int
    median: float
    """Of those before it."""


@frozen
class RollingWindow:
    """At most the last 200 numbers pushed, NaN excepted."""

    _sorted: array[float] = field(factory=lambda: array("d"))
    """Never changed once it is here."""
    _recent: RecentNumbers = field(factory=RecentNumbers)

    def push(self, value: float) -> RollingWindow:
        """The window with `value`, without its oldest number if it is full."""
        return self if value != value else self.push_each((value,), math.inf)[0]

    def push_each(self, values: Sequence[float], factor: float, least: int = 0) -> tuple[RollingWindow, tuple[Excess, ...]]:
        """The window with all `values`, none of them NaN; and which of them were far above the window before them, if it held `least`.

        Far above is more above the median than `factor` times the median of all distances to the median.
        """
        ordered, order = self._sorted[:], self._recent.in_order() + array("d", values)
        num_before = len(ordered)
        found = []
        for index, value in enumerate(values):
            count = len(ordered)
            if count >= least and count and value > (middle := _median(ordered)) and _is_far_above(ordered, middle, value, factor):
                found.append(Excess(index, middle))
            if count == WINDOW:
                del ordered[bisect_left(ordered, order[num_before + index - WINDOW])]
            insort(ordered, value)
        return RollingWindow(ordered, self._recent.push(*values)), tuple(found)

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def median(self) -> float:
        """NaN without numbers."""
        return _median(self._sorted)

    def percentile(self, percent: float) -> float:
        """The nearest-rank percentile; NaN without numbers."""
        count = len(self._sorted)
        return self._sorted[min(count - 1, int(count * percent / 100))] if count else float("nan")


def _is_far_above(ordered: array[float], middle: float, value: float, factor: float) -> bool:
    """Counts what lies near the median first, which answers nearly always."""
    count, limit = len(ordered), (value - middle) / factor
    num_near = bisect_left(ordered, middle + limit) - bisect_right(ordered, middle - limit)
    if num_near > count // 2 + 1:
        return True
    return num_near >= count // 2 - 1 and value > middle + factor * _median(sorted(abs(each - middle) for each in ordered))


def _median(ordered: Sequence[float]) -> float:
    count = len(ordered)
    if not count:
        return float("nan")
    half = count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2
