"""Summaries of 64 rows, and of 4 such summaries, and so on: what a chart of any number of points is drawn from.

A row is its keys (position, x and other rising numbers) and its values. A value that was not recorded is stored as NaN; one that is no
finite number, as infinity: it is counted and has no part in least, greatest, last and total. So no spike is lost at any zoom.

Levels only grow and are shared by every state of a fold: a state knows how many blocks are its own.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from attrs import frozen

__all__ = ["HEAD_POINTS", "POINTS_PER_BUCKET", "Bucket", "Pyramid", "Stats", "merge_stats", "stats_of", "stored", "stored_row"]

POINTS_PER_BUCKET = 64
HEAD_POINTS = 8192
"""So many rows from the first on are kept as they are, for runs too short for summaries."""

_FAN = 4
Stats = tuple[int, float, float, float, float, int, int, float]
"""n, least, greatest, last, total, number not finite, number finite and not positive, least positive; what is absent is infinite."""

_NOTHING: Stats = (0, math.inf, -math.inf, math.inf, 0.0, 0, 0, math.inf)
_TYPES = "IddddIId"
_NUM_STATS = len(_TYPES)


@frozen
class Bucket:
    """What is drawn in one column: a segment from `min` to `max`."""

    first_position: int
    first_x: float
    last_x: float
    n: int
    """Points, those that are not finite included."""
    min: float
    """NaN, as `max` and `last`, where no point is finite."""
    max: float
    last: float
    """The last finite point."""
    total: float
    """Of the finite points."""
    num_non_finite: int
    num_not_positive: int
    """Finite points at or below 0, which a logarithmic axis cannot show."""
    min_positive: float
    """NaN where no point is positive."""

    @property
    def mean(self) -> float:
        """Of the finite points; NaN where there is none."""
        num_finite = self.n - self.num_non_finite
        return self.total / num_finite if num_finite else math.nan


def stored(value: float | None) -> float:
    """How a recorded value is stored; None is one that was not recorded."""
    if value is None:
        return math.nan
    return value if math.isfinite(value) else math.inf


def stored_row(values: tuple[float | None, ...]) -> tuple[float, ...]:
    """How the values of one row are stored."""
    if None in values or not math.isfinite(sum(values)):  # type: ignore[arg-type]  # then there is no None
        return tuple(map(stored, values))
    return values  # type: ignore[return-value]  # there is no None


def stats_of(values: Sequence[float]) -> Stats:
    """What one bucket keeps of stored `values`."""
    total, finite, n = sum(values), values, len(values)
    if not math.isfinite(total):
        n = sum(value == value for value in values)
        finite = [value for value in values if math.isfinite(value)]
        total = sum(finite)
    if not finite:
        return (n, *_NOTHING[1:5], n, 0, math.inf)
    least = min(finite)
    if least > 0:
        return n, least, max(finite), finite[-1], total, n - len(finite), 0, least
    positive = [value for value in finite if value > 0]
    odd = len(finite) - len(positive)
    return n, least, max(finite), finite[-1], total, n - len(finite), odd, min(positive, default=math.inf)


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """What one bucket keeps of all points behind `parts`, in order."""
    if len(parts) == 1:
        return parts[0]
    counts, least, greatest, lasts, totals, non_finite, not_positive, positive = zip(*parts)
    last = next((value for value in reversed(lasts) if value != math.inf), math.inf)
    return sum(counts), min(least), max(greatest), last, sum(totals), sum(non_finite), sum(not_positive), min(positive)


class Pyramid:
    """Blocks of 64 rows, summarised; `num_keys` of each row's numbers are keys, the second of them x."""

    def __init__(self, num_keys: int, num_values: int) -> None:
        self.num_keys = num_keys
        self.num_values = num_values
        self.levels: list[tuple[array[float], ...]] = [self._new_level()]
        self.head: tuple[array[float], ...] = tuple(array("d") for _ in range(num_keys + num_values))
        """The first rows, a column for each key and value."""
        self.smoothed: dict[tuple[int, float], array[float]] = {}
        """Smoothed means of the blocks so far, by value and half-life: remembered, never part of the state."""

    def with_block(self, num_blocks: int, rows: array[float]) -> Pyramid:
        """The pyramid whose block number `num_blocks` holds `rows`, stored one behind the other: this one, unless its block is another."""
        width = self.num_keys + self.num_values
        columns = [rows[place::width] for place in range(width)]
        keys = columns[: self.num_keys]
        entry: list[float] = [*(key[0] for key in keys), *(key[-1] for key in keys)]
        for value in columns[self.num_keys :]:
            entry += stats_of(value)
        level = self.levels[0]
        if num_blocks < len(level[0]):
            if all(column[num_blocks] == number for column, number in zip(level, entry)):
                return self
            return self.first_blocks(num_blocks).with_block(num_blocks, rows)
        for column, number in zip(level, entry):
            column.append(number)
        if num_blocks * POINTS_PER_BUCKET < HEAD_POINTS:
            for head, new in zip(self.head, columns):
                head.extend(new)
        self._raise(0)
        return self

    def first_blocks(self, num_blocks: int) -> Pyramid:
        """A copy of the first blocks, to go on from otherwise."""
        copy = Pyramid(self.num_keys, self.num_values)
        copy.levels = []
        for number, level in enumerate(self.levels):
            length = num_blocks // _FAN**number
            if length or not number:
                copy.levels.append(tuple(column[:length] for column in level))
        copy.head = tuple(column[: num_blocks * POINTS_PER_BUCKET] for column in self.head)
        return copy

    def firsts(self, key: int) -> array[float]:
        """The key of each block's first row."""
        return self.levels[0][key]

    def lasts(self, key: int) -> array[float]:
        """The key of each block's last row."""
        return self.levels[0][self.num_keys + key]

    def stats(self, level: int, value: int, start: int, stop: int) -> Stats:
        """Buckets `start` to before `stop` of a level in one."""
        base = 2 * self.num_keys + _NUM_STATS * value
        columns = self.levels[level][base : base + _NUM_STATS]
        if stop == start + 1:
            return tuple(column[start] for column in columns)  # type: ignore[return-value]  # eight columns in this order
        return merge_stats([tuple(numbers) for numbers in zip(*(column[start:stop] for column in columns))])

    def level_for(self, num_blocks: int, num_columns: int) -> int:
        """The coarsest level that has a bucket for every column of a range of `num_blocks` blocks, else 0."""
        level = 0
        while level + 1 < len(self.levels) and num_blocks // _FAN ** (level + 1) >= num_columns:
            level += 1
        return level

    def cover(self, start: int, stop: int, level: int) -> list[tuple[int, int, int]]:
        """Runs of buckets (level, first, behind the last) that are exactly blocks `start` to before `stop`, in order."""
        if level < 0 or start >= stop:
            return []
        size = _FAN**level
        first, last = -(-start // size), stop // size
        if first >= last:
            return self.cover(start, stop, level - 1)
        return [*self.cover(start, first * size, level - 1), (level, first, last), *self.cover(last * size, stop, level - 1)]

    def blocks_between(self, num_blocks: int, first_x: float, last_x: float) -> tuple[int, int]:
        """Which of the first `num_blocks` blocks have a row with x from `first_x` to `last_x`."""
        start = bisect_left(self.lasts(1), first_x, 0, num_blocks)
        return start, max(start, bisect_right(self.firsts(1), last_x, 0, num_blocks))

    def _new_level(self) -> tuple[array[float], ...]:
        keys = "d" * (2 * self.num_keys)
        return tuple(array(code) for code in keys + _TYPES * self.num_values)

    def _raise(self, number: int) -> None:
        """Complete the level above, if its next bucket has all its parts."""
        level = self.levels[number]
        length = len(level[0])
        if length % _FAN:
            return
        if number + 1 == len(self.levels):
            self.levels.append(self._new_level())
        start = length - _FAN
        entry: list[float] = [column[start] for column in level[: self.num_keys]]
        entry += [column[-1] for column in level[self.num_keys : 2 * self.num_keys]]
        for value in range(self.num_values):
            entry += self.stats(number, value, start, length)
        for column, number_ in zip(self.levels[number + 1], entry):
            column.append(number_)
        self._raise(number + 1)
