"""Numbers over x, for charts: every point counts at every zoom, and a million of them take a few megabytes.

A `SeriesTable` holds values that come together, such as all numbers of a training step; a `Series` is one of its columns. Pushing takes
constant time and leaves older tables what they were, so a table can be the state of a fold.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import ge

from attrs import field, frozen

from kd.views.chart_columns import ChartColumns, Point
from kd.views.pyramid import HEAD_POINTS, POINTS_PER_BUCKET, Bucket, Pyramid, Stats, stats_of, stored_row
from kd.views.shared_array import continued

__all__ = ["HALF_LIFE", "Series", "SeriesTable"]

HALF_LIFE = 50.0
"""Points after which half of a smoothed line's memory is gone."""

_POSITION, _X = 0, 1
_HEAD_BLOCKS = HEAD_POINTS // POINTS_PER_BUCKET


@frozen(eq=False)
class SeriesTable:
    """Rows of `columns` over a rising x, each from one record; `axes` are further rising numbers of a row, such as its time."""

    columns: tuple[str, ...]
    axes: tuple[str, ...] = ()
    _past: Pyramid = field(init=False)
    _num_blocks: int = field(init=False, default=0)
    _open: array[float] = field(init=False, factory=lambda: array("d"))
    """Rows of the block that is not full yet, one behind the other."""
    _num_open: int = field(init=False, default=0)

    @_past.default
    def _empty(self) -> Pyramid:
        return Pyramid(2 + len(self.axes), len(self.columns))

    def push(self, position: int, x: float, values: tuple[float | None, ...], axes: tuple[float, ...] = ()) -> SeriesTable:
        """The table with one more row; None is a value that was not recorded, and a key that falls is taken as standing still."""
        keys: tuple[float, ...] = (position, x, *axes)
        before = self.last_keys()
        if not all(map(ge, keys, before)):
            keys = tuple(now if now >= then else then for now, then in zip(keys, before))
        return self.push_rows(array("d", (*keys, *stored_row(values))))

    def push_rows(self, rows: array[float]) -> SeriesTable:
        """The table with more rows as they are stored: keys that do not fall, then values by `stored_row`, one row behind the other."""
        past, num_blocks, last, num_open = self._past, self._num_blocks, self._open, self._num_open
        width = past.num_keys + past.num_values
        start, stop = 0, len(rows)
        while start < stop:
            part = rows[start : start + (POINTS_PER_BUCKET - num_open) * width]
            last = continued(last, num_open * width, part)
            start, num_open = start + len(part), num_open + len(part) // width
            if num_open == POINTS_PER_BUCKET:
                past, num_blocks, last, num_open = past.with_block(num_blocks, last), num_blocks + 1, array("d"), 0
        return self._with(past, num_blocks, last, num_open)

    def series(self, column: str) -> Series:
        """One column; KeyError if there is none of that name."""
        if column not in self.columns:
            raise KeyError(column)
        return Series(self, self.columns.index(column))

    def __len__(self) -> int:
        return self._num_blocks * POINTS_PER_BUCKET + self._num_open

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeriesTable) and (self.columns, self.axes) == (other.columns, other.axes) and self._same(other)

    def __hash__(self) -> int:
        return hash((self.columns, len(self)))

    def last_keys(self) -> tuple[float, ...]:
        """Position, x and axes of the newest row; zeros without rows."""
        past = self._past
        if self._num_open:
            start = (self._num_open - 1) * (past.num_keys + past.num_values)
            return tuple(self._open[start : start + past.num_keys])
        if not self._num_blocks:
            return (0.0,) * past.num_keys
        return tuple(past.lasts(key)[self._num_blocks - 1] for key in range(past.num_keys))

    def convert(self, value: float, source: str, target: str) -> float:
        """`value` of one key as the other key has it at that row, between rows in proportion; keys are `position`, `x` and the axes."""
        return self.key_at(self.rows_before(value, source), target)

    def rows_before(self, value: float, key: str = "x") -> float:
        """Number of rows whose `key` is below `value`; behind the first 8,192 it is in proportion inside blocks of 64."""
        place = self._key(key)
        firsts, lasts = self._past.firsts(place), self._past.lasts(place)
        block = bisect_left(lasts, value, 0, self._num_blocks)
        start = block * POINTS_PER_BUCKET
        if block == self._num_blocks:
            return start + bisect_left(self._newest(place), value)
        if block < _HEAD_BLOCKS:
            return bisect_left(self._past.head[place], value, start, start + POINTS_PER_BUCKET)
        if value <= firsts[block]:
            return start
        return start + (value - firsts[block]) / (lasts[block] - firsts[block]) * (POINTS_PER_BUCKET - 1)

    def key_at(self, row: float, key: str) -> float:
        """The `key` of a row counted from 0; NaN without rows."""
        if not len(self):
            return math.nan
        place = self._key(key)
        row = min(max(row, 0.0), len(self) - 1)
        block, rest = divmod(row, POINTS_PER_BUCKET)
        if block >= self._num_blocks:
            return self._newest(place)[math.floor(rest)]
        if block < _HEAD_BLOCKS:
            return self._past.head[place][math.floor(row)]
        first, last = self._past.firsts(place)[int(block)], self._past.lasts(place)[int(block)]
        return first + (last - first) * min(1.0, rest / (POINTS_PER_BUCKET - 1))

    def _key(self, name: str) -> int:
        return ("position", "x", *self.axes).index(name)

    def _newest(self, place: int) -> array[float]:
        """One key or value of the rows of the block that is not full."""
        width = self._past.num_keys + self._past.num_values
        return self._open[place : self._num_open * width : width]

    def _with(self, past: Pyramid, num_blocks: int, rows: array[float], num_open: int) -> SeriesTable:
        table = _new_table(SeriesTable)
        _set(table, "columns", self.columns)
        _set(table, "axes", self.axes)
        _set(table, "_past", past)
        _set(table, "_num_blocks", num_blocks)
        _set(table, "_open", rows)
        _set(table, "_num_open", num_open)
        return table

    def _same(self, other: SeriesTable) -> bool:
        mine, theirs, count = self._past, other._past, self._num_blocks
        length = self._num_open * (mine.num_keys + mine.num_values)
        return (
            (count, self._num_open) == (other._num_blocks, other._num_open)
            and (mine is theirs or all(a[:count] == b[:count] for a, b in zip(mine.levels[0], theirs.levels[0])))
            and self._open[:length].tobytes() == other._open[:length].tobytes()
        )


_new_table = object.__new__
_set = object.__setattr__


@frozen
class Series:
    """One column of a table."""

    table: SeriesTable
    column: int

    @property
    def name(self) -> str:
        return self.table.columns[self.column]

    @property
    def first_x(self) -> float:
        """NaN without rows."""
        return self.table.key_at(0, "x")

    @property
    def last_x(self) -> float:
        return self.table.key_at(len(self.table) - 1, "x")

    @property
    def last(self) -> Point | None:
        """The newest recorded value that is known singly: the last point, or the last finite one of the newest block."""
        table = self.table
        values = table._newest(self._place)
        for index in reversed(range(len(values))):
            if values[index] == values[index]:
                return Point(int(table._newest(_POSITION)[index]), table._newest(_X)[index], values[index])
        return self._last_of_blocks()

    def buckets(self, first_x: float, last_x: float, num_columns: int) -> tuple[Bucket, ...]:
        """What is to be drawn from `first_x` to `last_x`: a bucket for each of `num_columns` equal parts of x that has points.

        Each holds all points of its part, whatever their number. Where summaries are too coarse and single points are not at hand (see
        `raw_positions`) a bucket holds up to 64 points, and there are fewer buckets than columns.
        """
        if not last_x >= first_x or num_columns < 1:
            return ()
        past, num_blocks = self.table._past, self.table._num_blocks
        start, stop = past.blocks_between(num_blocks, first_x, last_x)
        drawing = ChartColumns(first_x, last_x, num_columns)
        if stop <= _HEAD_BLOCKS and stop - start < num_columns:
            positions, xs, values = past.head[_POSITION], past.head[_X], past.head[self._place]
            drawing.add_points(positions, xs, values, start * POINTS_PER_BUCKET, stop * POINTS_PER_BUCKET)
        else:
            for level, first, last in past.cover(start, stop, past.level_for(stop - start, num_columns)):
                self._add_level(drawing, level, first, last)
        table = self.table
        drawing.add_points(table._newest(_POSITION), table._newest(_X), table._newest(self._place), 0, table._num_open)
        return drawing.buckets()

    def raw_positions(self, first_x: float, last_x: float, num_columns: int) -> tuple[int, int] | None:
        """First and last position of the at most 8,192 records that would give a finer drawing than `buckets`, or None."""
        past, num_blocks = self.table._past, self.table._num_blocks
        start, stop = past.blocks_between(num_blocks, first_x, last_x)
        if stop <= _HEAD_BLOCKS or stop - start >= min(num_columns, _HEAD_BLOCKS):
            return None
        return int(past.firsts(_POSITION)[start]), int(past.lasts(_POSITION)[stop - 1])

    def smoothed(self, first_x: float, last_x: float, num_columns: int, half_life: float = HALF_LIFE) -> tuple[tuple[float, float], ...]:
        """The smoothed line as (x, y), at most one point a column; its height at an x depends on neither zoom nor width."""
        line = self._smoothed_blocks(half_life)
        lasts = self.table._past.lasts(_X)
        points = [(lasts[index], line[index]) for index in _last_of_columns(lasts, len(line), first_x, last_x, num_columns)]
        newest = self.table._newest(_X)
        if newest and first_x <= newest[-1] <= last_x:
            before = line[-1] if line else math.nan
            points.append((newest[-1], _smooth(before, stats_of(self.table._newest(self._place)), half_life)))
        return tuple(point for point in points if point[1] == point[1])

    def points(self) -> tuple[Point, ...]:
        """All points that are known singly: the first 8,192, and those of the newest block; what is not finite is infinite."""
        table, count = self.table, min(self.table._num_blocks, _HEAD_BLOCKS) * POINTS_PER_BUCKET
        positions, xs, values = (table._past.head[place][:count] + table._newest(place) for place in (_POSITION, _X, self._place))
        return tuple(Point(int(position), x, value) for position, x, value in zip(positions, xs, values) if value == value)

    @property
    def _place(self) -> int:
        return self.table._past.num_keys + self.column

    def _last_of_blocks(self) -> Point | None:
        past = self.table._past
        for block in reversed(range(self.table._num_blocks)):
            last = past.stats(0, self.column, block, block + 1)[3]
            if last != math.inf:
                return Point(int(past.lasts(_POSITION)[block]), past.lasts(_X)[block], last)
        return None

    def _add_level(self, drawing: ChartColumns, level: int, start: int, stop: int) -> None:
        past = self.table._past
        columns = past.levels[level]
        positions, firsts, lasts = columns[_POSITION], columns[_X], columns[past.num_keys + _X]
        for first, behind in drawing.parts(firsts, start, stop, is_inside=False):
            drawing.add(int(positions[first]), firsts[first], lasts[behind - 1], past.stats(level, self.column, first, behind))

    def _smoothed_blocks(self, half_life: float) -> array[float]:
        past, num_blocks = self.table._past, self.table._num_blocks
        known = past.smoothed.get((self.column, half_life), array("d"))
        if len(known) < num_blocks:
            known = known[:]  # another thread may read the old one
            value = known[-1] if known else math.nan
            for block in range(len(known), num_blocks):
                value = _smooth(value, past.stats(0, self.column, block, block + 1), half_life)
                known.append(value)
            past.smoothed[self.column, half_life] = known
        return known[:num_blocks]


def _smooth(before: float, stats: Stats, half_life: float) -> float:
    """y + (1 - 2^(-n/h)) (m - y) for the n finite points with mean m behind y."""
    num_finite = stats[0] - stats[5]
    if not num_finite:
        return before
    mean = stats[4] / num_finite
    return mean if before != before else before + (1 - 2 ** (-num_finite / half_life)) * (mean - before)


def _last_of_columns(xs: Sequence[float], length: int, first_x: float, last_x: float, num_columns: int) -> Iterable[int]:
    """The index of the last x in each of the equal parts of the range that has one."""
    drawing = ChartColumns(first_x, last_x, num_columns)
    return (stop - 1 for _, stop in drawing.parts(xs, 0, length))
