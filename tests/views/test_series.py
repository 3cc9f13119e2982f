"""Series keep every point in what they draw, in constant time and little memory."""

from __future__ import annotations

import math
import random
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.views.chart_columns import Point, buckets_of
from kd.views.log_axis import log_axis
from kd.views.pyramid import POINTS_PER_BUCKET, stats_of, stored
from kd.views.series import Series, SeriesTable


def _table(values: list[float | None], table: SeriesTable | None = None, start: int = 0) -> SeriesTable:
    table = SeriesTable(("loss",)) if table is None else table
    return reduce(lambda so_far, row: so_far.push(*row), ((i, float(i), (v,)) for i, v in enumerate(values, start)), table)


def _series(values: list[float | None]) -> Series:
    return _table(values).series("loss")


def test_a_spike_of_one_step_is_seen_at_every_zoom() -> None:
    """However many points a column holds, its segment reaches the greatest and the least of them."""
    values = [1.0] * 60_000
    values[43_210], values[17] = 99.0, -5.0
    series = _series(values)
    for num_columns in (1, 7, 240, 1000):
        buckets = series.buckets(0, 59_999, num_columns)
        assert len(buckets) <= num_columns
        assert (max(b.max for b in buckets), min(b.min for b in buckets)) == (99.0, -5.0)
        assert sum(b.n for b in buckets) == 60_000


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 4096, 20_000])
def test_buckets_are_what_all_points_in_their_columns_give(count: int) -> None:
    """A drawing from summaries agrees with one from single points in number, sum, extremes and the last point."""
    chooser = random.Random(count)
    values = [chooser.choice([1.0, 2.5, -3.0, math.inf, 0.0, chooser.random()]) for _ in range(count)]
    points = [Point(i, float(i), v) for i, v in enumerate(values)]
    found, expected = _series(list(values)).buckets(0, count - 1, 3), buckets_of(points, 0, count - 1, 3)
    assert sum(b.n for b in found) == count
    assert sum(b.num_non_finite for b in found) == values.count(math.inf)
    assert sum(b.num_not_positive for b in found) == sum(v <= 0 for v in values)
    assert math.isclose(sum(b.total for b in found), sum(b.total for b in expected))
    assert found[-1].last == expected[-1].last
    assert (found[0].first_position, found[-1].last_x) == (0, count - 1)


def test_short_series_show_every_point() -> None:
    """Up to 8,192 points, each is drawn in its own column if there are as many columns."""
    series = _series([float(i) for i in range(8192)])
    assert [b.last for b in series.buckets(100, 299, 200)] == [float(i) for i in range(100, 300)]
    assert len(series.points()) == 8192
    assert series.raw_positions(100, 299, 200) is None


def test_a_deep_zoom_names_the_records_to_read() -> None:
    """Where summaries are too coarse, a series says which records would show more."""
    series = _series([1.0] * 20_000)
    positions = series.raw_positions(15_000, 15_200, 240)
    assert positions is not None
    assert positions[0] <= 15_000 <= 15_200 <= positions[1]
    assert series.raw_positions(0, 19_999, 240) is None


def test_older_states_stay_what_they_were() -> None:
    """Pushing changes no table that was there before, and folding the same again finds the same."""
    values = [float(i) for i in range(1000)]
    old = _table(values[:300])
    before = old.series("loss").buckets(0, 999, 50)
    new = _table(values[300:], old, 300)
    assert old.series("loss").buckets(0, 999, 50) == before
    assert _table(values[300:], old, 300) == new
    assert len(new) == 1000


def test_another_future_does_not_touch_the_first_one() -> None:
    """Two tables that go on from one state differently are two tables."""
    old = _table([1.0] * 200)
    first, second = _table([2.0] * 200, old, 200), _table([3.0] * 200, old, 200)
    assert first != second
    assert [t.series("loss").buckets(0, 399, 1)[0].max for t in (old, first, second)] == [1.0, 2.0, 3.0]


def test_smoothing_depends_on_neither_zoom_nor_width() -> None:
    """At an x that two drawings share, the smoothed line has one height."""
    chooser = random.Random(1)
    series = _series([chooser.random() for _ in range(9_000)])
    wide, narrow = dict(series.smoothed(0, 8_999, 500)), dict(series.smoothed(4_000, 6_000, 40))
    assert len(wide.keys() & narrow.keys()) > 20
    assert all(wide[x] == narrow[x] for x in wide.keys() & narrow.keys())


def test_the_smoothed_line_follows_its_formula() -> None:
    """y is the first mean, then goes towards each mean by 1 - 2^(-n/h)."""
    series = _series([0.0] * POINTS_PER_BUCKET + [1.0] * POINTS_PER_BUCKET + [None] * POINTS_PER_BUCKET)
    assert [y for _, y in series.smoothed(0, 1e9, 10**9, half_life=64)] == [0.0, 0.5, 0.5]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=80))
def test_what_is_no_number_is_counted(values: list[float | None]) -> None:
    """Points that were not recorded are none; those that are not finite count and change no extreme."""
    n, least, greatest, _, _, num_non_finite, num_not_positive, _ = stats_of(list(map(stored, values)))
    finite = [v for v in values if v is not None and math.isfinite(v)]
    assert n == sum(v is not None for v in values)
    assert num_non_finite == n - len(finite)
    assert num_not_positive == sum(v <= 0 for v in finite)
    assert (least, greatest) == ((min(finite), max(finite)) if finite else (math.inf, -math.inf))


def test_a_clock_that_goes_back_stands_still() -> None:
    """x and axes never fall, so that a place on the axis is one place in the series."""
    table = SeriesTable(("v",), ("time",)).push(0, 5, (1.0,), (100.0,)).push(1, 4, (2.0,), (90.0,)).push(2, 6, (3.0,), (120.0,))
    assert [p.x for p in table.series("v").points()] == [5, 5, 6]
    assert table.convert(6, "x", "time") == 120


def test_axes_convert_into_each_other() -> None:
    """A step has its tokens, and they lead back to the step."""
    table = reduce(lambda t, i: t.push(i, i, (1.0,), (100.0 * i,)), range(1000), SeriesTable(("v",), ("tokens",)))
    for place in (0, 63, 64, 500.0, 999):
        assert table.convert(place, "x", "tokens") == pytest.approx(100 * place)
        assert table.convert(100 * place, "tokens", "x") == pytest.approx(place, abs=1)


def test_a_logarithmic_axis_marks_what_it_cannot_show() -> None:
    """Points at or below 0 and those that are no numbers are counted, and their columns marked."""
    axis = log_axis(_series([10.0, 100.0, -1.0, 0.0, math.nan, 1000.0]).buckets(0, 5, 3))
    assert axis.num_marked == 3
    assert [(b.low, b.high, b.is_marked) for b in axis.buckets] == [(1, 2, False), (None, None, True), (3, 3, True)]


def test_a_million_points_take_few_bytes() -> None:
    """Summaries of eight columns take about eleven bytes a row; the first rows are kept besides."""
    names = tuple("abcdefgh")
    table = reduce(lambda t, i: t.push(i, i, (1.0,) * 8, (1.0,) * 3), range(40_000), SeriesTable(names, ("x1", "x2", "x3")))
    past = table._past
    num_bytes = sum(column.itemsize * len(column) for level in past.levels for column in level)
    assert num_bytes / 40_000 < 11
    assert sum(column.itemsize * len(column) for column in past.head) < 1_000_000
