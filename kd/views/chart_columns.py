"""Equal parts of an x range, and the points that fall into each."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from attrs import frozen

from kd.views.pyramid import Bucket, Stats, merge_stats, stats_of, stored

__all__ = ["ChartColumns", "Point", "buckets_of"]


@frozen
class Point:
    """One recorded value and its record."""

    position: int
    x: float
    value: float


class ChartColumns:
    """The columns of a chart from `first_x` to `last_x` while they are filled, from left to right."""

    def __init__(self, first_x: float, last_x: float, num_columns: int) -> None:
        self._first, self._last = first_x, last_x
        self._num_columns = num_columns
        self._width = (last_x - first_x) / num_columns
        self._found: dict[int, tuple[int, float, float, Stats]] = {}

    def add(self, position: int, first_x: float, last_x: float, stats: Stats) -> None:
        """Add points to the column of `first_x`."""
        if not stats[0]:
            return
        column = self._column(first_x)
        known = self._found.get(column)
        if known is not None:
            position, first_x, stats = known[0], known[1], merge_stats([known[3], stats])
        self._found[column] = position, first_x, last_x, stats

    def add_points(self, positions: Sequence[float], xs: Sequence[float], values: Sequence[float], start: int, stop: int) -> None:
        """Add stored points `start` to before `stop` as far as they lie in the range."""
        for first, behind in self.parts(xs, start, stop):
            self.add(int(positions[first]), xs[first], xs[behind - 1], stats_of(values[first:behind]))

    def parts(self, xs: Sequence[float], start: int, stop: int, *, is_inside: bool = True) -> Iterable[tuple[int, int]]:
        """Ranges of indices whose x falls into one column each; with `is_inside` those outside the x range are left out."""
        if is_inside:
            start = bisect_left(xs, self._first, start, stop)
            stop = bisect_right(xs, self._last, start, stop)
        while start < stop:
            column = self._column(xs[start])
            edge = self._first + (column + 1) * self._width
            end = stop if column + 1 >= self._num_columns else max(start + 1, bisect_left(xs, edge, start, stop))
            yield start, end
            start = end

    def buckets(self) -> tuple[Bucket, ...]:
        return tuple(_bucket(*self._found[column]) for column in sorted(self._found))

    def _column(self, x: float) -> int:
        if not self._width:
            return 0
        return max(0, min(int((x - self._first) / self._width), self._num_columns - 1))


def buckets_of(points: Iterable[Point], first_x: float, last_x: float, num_columns: int) -> tuple[Bucket, ...]:
    """The same as `Series.buckets` for points that were read singly, in rising x."""
    drawing = ChartColumns(first_x, last_x, num_columns)
    points = tuple(points)
    values = [stored(point.value) for point in points]
    drawing.add_points([point.position for point in points], [point.x for point in points], values, 0, len(points))
    return drawing.buckets()


def _bucket(position: int, first_x: float, last_x: float, stats: Stats) -> Bucket:
    n, least, greatest, last, total, num_non_finite, num_not_positive, positive = stats
    if n == num_non_finite:
        least = greatest = last = math.nan
    min_positive = math.nan if positive == math.inf else positive
    return Bucket(position, first_x, last_x, n, least, greatest, last, total, num_non_finite, num_not_positive, min_positive)
