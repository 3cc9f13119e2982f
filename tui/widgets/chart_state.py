"""What a chart shows, and the plot that comes of it at a width: every point counts at every zoom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from attrs import frozen

from kd.views.pyramid import Bucket
from kd.views.series import HALF_LIFE, Series
from tui.widgets.figures import exact, num_bytes, short, span
from tui.widgets.painting import Pieces
from tui.widgets.plot import Plot, Trace, num_columns
from tui.widgets.plot_scale import Column

__all__ = ["Axis", "ChartState", "Line", "detail_of", "plot_of"]

Axis = Literal["x", "num_tokens", "active_seconds", "time_ms"]


@frozen(kw_only=True)
class Line:
    """One series of a chart."""

    series: Series
    name: str = ""
    letter: str = ""
    """Stands at its end and before its name, where there are several."""
    colour: int = 0
    """Which of the theme's colours."""
    dash: int = 0
    last_x: float | None = None
    """Drawn up to here; None is its end."""
    fine: Series | None = None
    """The points of the window alone, each by itself, where the series keeps only summaries of them."""


@frozen(kw_only=True)
class ChartState:
    """What a chart shows."""

    title: str
    unit: str = ""
    lines: tuple[Line, ...] = ()
    markers: tuple[float, ...] = ()
    """Values of x with a sign on the axis: checkpoints."""
    x_unit: str = "step"
    """`step`, or `time_ms`."""
    empty: str = "nothing recorded yet"
    """Why there are no lines, for people."""
    axis: Axis = "x"
    half_life: float = HALF_LIFE
    """Points; 0 for no smoothed line."""
    is_smooth: bool = True
    """A smoothed line tells something: not of what is smooth by itself."""
    is_log: bool = False
    is_open: bool = False
    """The newest points are shown in full below the picture."""
    range: tuple[float, float] | None = None
    """First and last x where the lines do not say: charts beside each other share it."""
    window: tuple[float, float] | None = None
    """First and last x that are drawn; None is everything."""

    @property
    def extent(self) -> tuple[float, float] | None:
        """First and last x of all lines; None without points."""
        lines = [line for line in self.lines if len(line.series.table)]
        if not lines:
            return None
        if self.range is not None:
            return self.range
        lasts = [line.series.last_x if line.last_x is None else line.last_x for line in lines]
        return min(line.series.first_x for line in lines), max(lasts)


def plot_of(state: ChartState, width: int, *, is_focused: bool = False) -> Plot:
    """The chart as values, for a picture that is `width` cells wide."""
    range_ = state.window or state.extent
    if range_ is None or not state.lines:
        return Plot(title=state.title, notes=(state.unit,) if state.unit else (), empty=state.empty, is_focused=is_focused)
    traces = tuple(_trace(line, state, range_, num_columns(width)) for line in state.lines)
    first, last = (_on_axis(state, x) for x in range_)
    return Plot(
        title=state.title,
        notes=_notes(state),
        value=_value(state),
        traces=traces,
        markers=tuple(_on_axis(state, x) for x in _seen(state.markers, *range_, num_columns(width))),
        first_x=first,
        last_x=last,
        first_label=_x_label(state, first, first),
        last_label=_x_label(state, last, first),
        is_log=state.is_log,
        is_bytes=state.unit == "bytes",
        empty="no values in this window",
        is_focused=is_focused,
    )


def _seen(markers: Sequence[float], first: float, last: float, count: int) -> Iterator[float]:
    """Of the markers that fall into one of `count` columns, the last one; they are drawn as one sign."""
    share = count / (last - first) if last > first else 0.0
    yield from {int((x - first) * share): x for x in markers if first <= x <= last}.values()


def detail_of(state: ChartState) -> tuple[Pieces, ...]:
    """The newest point of each line, unrounded, with its unit and its record; of a window whose points are known, the newest in it."""
    found = []
    for line in state.lines:
        point = (line.series if line.fine is None else line.fine).last
        if point is not None:
            name = " ".join(part for part in (line.letter, line.name) if part) or state.title
            is_time = state.x_unit == "time_ms"
            place = f"after {span((point.x - line.series.first_x) / 1000)}" if is_time else f"at {state.x_unit} {point.x:,.0f}"
            number = f"{exact(point.value)} {state.unit}".strip()
            found.append(((f" {name} ", "muted"), (number, "bold text"), (f" {place} ", "muted"), (f"@{point.position:,}", "accent")))
    return tuple(found)


def _value(state: ChartState) -> str:
    lines = state.lines
    last = lines[0].series.last if len(lines) == 1 else None
    if last is None:
        return ""
    return num_bytes(last.value) if state.unit == "bytes" else short(last.value, is_trimmed=True)


def _trace(line: Line, state: ChartState, range_: tuple[float, float], count: int) -> Trace:
    series = line.series
    first, last = range_
    if line.last_x is not None:
        last = min(last, line.last_x)
    drawn = series if line.fine is None else line.fine
    columns = tuple(_column(bucket, series, state, first, last) for bucket in drawn.buckets(first, last, count))
    smooth: tuple[tuple[float, float], ...] = ()
    if state.half_life and state.is_smooth:
        smooth = tuple((_key(series, x, state.axis), y) for x, y in series.smoothed(first, last, count, state.half_life))
    return Trace(columns=columns, smooth=smooth, colour=line.colour, dash=line.dash, letter=line.letter)


def _column(bucket: Bucket, series: Series, state: ChartState, first: float, last: float) -> Column:
    """A bucket in the middle of that part of it that is in sight."""
    x = _key(series, (max(bucket.first_x, first) + min(bucket.last_x, last)) / 2, state.axis)
    if not state.is_log:
        return Column(x, bucket.min, bucket.max, bucket.num_non_finite)
    num_crosses = bucket.num_non_finite + bucket.num_not_positive
    return Column(x, bucket.min_positive, bucket.max if bucket.min_positive > 0 else math.nan, num_crosses)


def _key(series: Series, x: float, axis: Axis) -> float:
    return x if axis == "x" else series.table.convert(x, "x", axis)


def _on_axis(state: ChartState, x: float) -> float:
    """`x` on the axis that is shown, by the longest line."""
    longest = max(state.lines, key=lambda line: len(line.series.table))
    return _key(longest.series, x, state.axis)


def _notes(state: ChartState) -> tuple[str, ...]:
    smoothing = () if not state.is_smooth else (f"h={short(state.half_life)}" if state.half_life else "raw",)
    zoom = () if state.window is None else ("zoomed",)
    legend = (f"{line.letter} {line.name}" for line in state.lines if line.letter)
    return (*((state.unit,) if state.unit and state.unit != "bytes" else ()), *zoom, *legend, *smoothing)


def _x_label(state: ChartState, value: float, first: float) -> str:
    """A place on the axis, with its unit at the right end; times count from the left end."""
    is_first = value == first
    if state.axis == "time_ms" or (state.axis == "x" and state.x_unit == "time_ms"):
        return "0" if is_first else span((value - first) / 1000)
    if state.axis == "active_seconds":
        return span(value) if is_first else f"{span(value)} active"
    unit = "" if is_first else " tokens" if state.axis == "num_tokens" else f" {state.x_unit}"
    return f"{short(round(value))}{unit}"
