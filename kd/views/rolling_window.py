"""The last 200 numbers of a fold, in order of size: median, spread and percentiles in constant time and memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from attrs import field, frozen

__all__ = ["WINDOW", "RecentNumbers", "RollingWindow"]

WINDOW = 200


@frozen(eq=False)
class RecentNumbers:
    """The last 200 numbers pushed; older ones are the same as they were."""

    _before: array[float] = field(factory=lambda: array("d"))
    """The 200 numbers before those of `_now`, or none."""
    _now: array[float] = field(factory=lambda: array("d"))
    """Shared with later states: only the first `_length` are this one's."""
    _length: int = 0

    def push(self, value: float) -> RecentNumbers:
        """The same with `value` behind the others."""
        before, now, length = self._before, self._now, self._length
        if length == WINDOW:
            return RecentNumbers(now[:length], array("d", (value,)), 1)
        if length < len(now):
            if now[length] == value:
                return RecentNumbers(before, now, length + 1)
            now = now[:length]
        now.append(value)
        return RecentNumbers(before, now, length + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecentNumbers) and self.in_order() == other.in_order()

    def __hash__(self) -> int:
        return hash(self._length)

    def __len__(self) -> int:
        return WINDOW if self._before else self._length

    def oldest(self) -> float:
        """The first of the last 200, if there are so many."""
        return self._before[self._length] if self._before and self._length < WINDOW else self._now[0]

    def in_order(self) -> array[float]:
        """The numbers in the order of their coming."""
        return self._before[self._length :] + self._now[: self._length]

    def window(self) -> RollingWindow:
        """The numbers in order of size."""
        return RollingWindow(array("d", sorted(self.in_order())), self)


@frozen
class RollingWindow:
    """At most the last 200 numbers pushed, NaN excepted."""

    _sorted: array[float] = field(factory=lambda: array("d"))
    """Never changed once it is here."""
    _recent: RecentNumbers = field(factory=RecentNumbers)

    def push(self, value: float) -> RollingWindow:
        """The window with `value`, without its oldest number if it is full."""
        if value != value:
            return self
        recent, ordered = self._recent, self._sorted[:]
        if len(ordered) == WINDOW:
            del ordered[bisect_left(ordered, recent.oldest())]
        insort(ordered, value)
        return RollingWindow(ordered, recent.push(value))

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

    def is_far_above(self, value: float, factor: float) -> bool:
        """Whether `value` exceeds the median by more than `factor` times the median of all distances to the median."""
        middle, count = self.median, len(self._sorted)
        if not value > middle:
            return False
        limit = (value - middle) / factor
        num_near = bisect_left(self._sorted, middle + limit) - bisect_right(self._sorted, middle - limit)
        if num_near > count // 2 + 1:
            return True
        return num_near >= count // 2 - 1 and value > middle + factor * self.median_deviation()

    def median_deviation(self) -> float:
        """The median of all distances to the median."""
        middle = self.median
        return _median(sorted(abs(value - middle) for value in self._sorted))


def _median(ordered: Sequence[float]) -> float:
    count = len(ordered)
    if not count:
        return float("nan")
    half = count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2
