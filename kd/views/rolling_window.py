"""The last 200 numbers of a fold, in order of size: median, spread and percentiles in constant time and memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from attrs import field, frozen

from kd.views.shared_list import SharedList

__all__ = ["WINDOW", "RecentNumbers", "RollingWindow"]

WINDOW = 200


@frozen
class RecentNumbers:
    """At least the last 200 numbers pushed."""

    before: SharedList[float] = field(factory=SharedList)
    """The 200 numbers before those of `now`."""
    now: SharedList[float] = field(factory=SharedList)

    def push(self, value: float) -> RecentNumbers:
        """The same with `value` behind the others."""
        if len(self.now) == WINDOW:
            return RecentNumbers(self.now, SharedList[float]().append(value))
        return RecentNumbers(self.before, self.now.append(value))

    def window(self) -> RollingWindow:
        """The last 200 of them, in order of size."""
        values = (*self.before.part(len(self.now)), *self.now.part())
        return RollingWindow(sorted(values), self)


@frozen
class RollingWindow:
    """At most the last 200 numbers pushed, NaN excepted."""

    _sorted: list[float] = field(factory=list)
    """Never changed once it is here."""
    _recent: RecentNumbers = field(factory=RecentNumbers)

    def push(self, value: float) -> RollingWindow:
        """The window with `value`, without its oldest number if it is full."""
        if value != value:
            return self
        recent, ordered = self._recent, self._sorted.copy()
        if len(ordered) == WINDOW:
            oldest = recent.now[0] if len(recent.now) == WINDOW else recent.before[len(recent.now)]
            del ordered[bisect_left(ordered, oldest)]
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


def _median(ordered: list[float]) -> float:
    count = len(ordered)
    if not count:
        return float("nan")
    half = count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2
