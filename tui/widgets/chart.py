"""A chart of one or several series: every point counts at every zoom, and drawing costs the same for any number of points.

The picture is drawn anew when state or size change, at most twice a second while new points arrive.
"""

from __future__ import annotations

import math
from typing import Literal

from attrs import evolve as replace
from attrs import frozen
from textual import events
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from kd.views.pyramid import Bucket
from kd.views.series import HALF_LIFE, Series
from tui.themes import glyphs_of, palette_of
from tui.widgets.figures import num_bytes, short, span
from tui.widgets.plot import Plot, Trace, draw_plot, num_columns
from tui.widgets.plot_scale import Column

__all__ = ["Axis", "Chart", "ChartState", "Line"]

Axis = Literal["x", "num_tokens", "active_seconds", "time_ms"]
_AXES: tuple[Axis, ...] = ("x", "num_tokens", "active_seconds", "time_ms")
_HALF_LIVES = (HALF_LIFE, 200.0, 1000.0, 0.0, 10.0)
"""In the order in which the key goes round; 0 draws no smoothed line."""
_REDRAW_SECONDS = 0.5
_ZOOM = 2.0


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


class Chart(Widget, can_focus=True):
    """A framed chart; its keys are those of the scope `charts`."""

    DEFAULT_CSS = "Chart { height: 1fr; background: $kd-background; color: $kd-text; }"

    state: reactive[ChartState] = reactive(ChartState(title=""), always_update=True)

    def __init__(self, state: ChartState | None = None, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: list[Strip] = []
        self._next: ChartState | None = None
        self._rest: Timer | None = None
        if state is not None:
            self.set_reactive(Chart.state, state)

    def give(self, state: ChartState, *, is_at_once: bool = False) -> None:
        """Show other data; what was chosen by keys stays. Unless at once, the newest of many is drawn twice a second."""
        now = self.state
        if _data(state) == _data(now):
            return
        self._next = _as_chosen(state, now)
        if is_at_once or self._rest is None:
            self._take_next()

    def keep(self, state: ChartState) -> None:
        """Have other data ready for when the chart comes into sight, and draw nothing."""
        self.set_reactive(Chart.state, _as_chosen(state, self.state))
        self._strips = []

    def watch_state(self) -> None:
        self._strips = []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if not self._strips:
            width, height = self.size
            self._strips = draw_plot(
                self.plot_for(width, is_focused=self.has_focus), width, height, palette_of(self.app), glyphs_of(self.app)
            )
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def plot_for(self, width: int, *, is_focused: bool) -> Plot:
        """The chart as values, for a picture that is `width` cells wide."""
        state = self.state
        range_ = state.window or state.extent
        if range_ is None:
            return Plot(title=state.title, notes=(state.unit,) if state.unit else (), empty=state.empty, is_focused=is_focused)
        traces = tuple(_trace(line, state, range_, num_columns(width)) for line in state.lines)
        first, last = (_on_axis(state, x) for x in range_)
        return Plot(
            title=state.title,
            notes=_notes(state),
            value=self._value(),
            traces=traces,
            markers=tuple(_on_axis(state, x) for x in state.markers if range_[0] <= x <= range_[1]),
            first_x=first,
            last_x=last,
            first_label=_x_label(state, first, first),
            last_label=_x_label(state, last, first),
            is_log=state.is_log,
            is_bytes=state.unit == "bytes",
            empty="no values in this window",
            is_focused=is_focused,
        )

    def do_log_axis(self) -> None:
        self.state = replace(self.state, is_log=not self.state.is_log)

    def do_half_life(self) -> None:
        now = self.state.half_life
        index = _HALF_LIVES.index(now) if now in _HALF_LIVES else -1
        self.state = replace(self.state, half_life=_HALF_LIVES[(index + 1) % len(_HALF_LIVES)])

    def do_axis(self) -> None:
        axes = [axis for axis in _AXES if axis == "x" or all(axis in line.series.table.axes for line in self.state.lines)]
        index = axes.index(self.state.axis) if self.state.axis in axes else 0
        self.state = replace(self.state, axis=axes[(index + 1) % len(axes)])

    def do_pan_left(self) -> None:
        self._move(-0.25, 1.0)

    def do_pan_right(self) -> None:
        self._move(0.25, 1.0)

    def do_zoom_in(self) -> None:
        self._move(0.0, 1 / _ZOOM)

    def do_zoom_out(self) -> None:
        self._move(0.0, _ZOOM)

    def do_reset_zoom(self) -> None:
        self.state = replace(self.state, window=None)

    def on_resize(self, event: events.Resize) -> None:
        self.watch_state()

    def on_focus(self) -> None:
        self.watch_state()

    def on_blur(self) -> None:
        self.watch_state()

    def notify_style_update(self) -> None:
        self._strips = []
        super().notify_style_update()

    @property
    def is_settled(self) -> bool:
        """Nothing newer waits to be drawn."""
        return self._next is None

    @property
    def position(self) -> int | None:
        """The record of the newest point."""
        last = self.state.lines[0].series.last if self.state.lines else None
        return None if last is None else last.position

    def _take_next(self) -> None:
        self._rest = None
        if self._next is not None:
            self.state, self._next = _as_chosen(self._next, self.state), None
            self._rest = self.set_timer(_REDRAW_SECONDS, self._take_next)

    def _value(self) -> str:
        lines = self.state.lines
        last = lines[0].series.last if len(lines) == 1 else None
        if last is None:
            return ""
        return num_bytes(last.value) if self.state.unit == "bytes" else short(last.value, is_trimmed=True)

    def _move(self, by: float, factor: float) -> None:
        """Move the window by a share of its width and make it wider by `factor`; it stays inside the data."""
        extent = self.state.extent
        if extent is None or extent[0] == extent[1]:
            return
        first, last = self.state.window or extent
        middle, width = (first + last) / 2 + by * (last - first), (last - first) * factor
        if width >= extent[1] - extent[0]:
            self.do_reset_zoom()
            return
        width = max(width, (extent[1] - extent[0]) / 1e6)
        start = min(max(middle - width / 2, extent[0]), extent[1] - width)
        self.state = replace(self.state, window=(start, start + width))


def _as_chosen(state: ChartState, now: ChartState) -> ChartState:
    """`state` with what was chosen by keys in `now`."""
    return replace(state, axis=now.axis, half_life=now.half_life, is_log=now.is_log, window=now.window)


def _data(state: ChartState) -> tuple[object, ...]:
    """What makes a new picture necessary; series by identity of their table and its length, which is cheap."""
    lines = tuple((id(line.series.table), line.series.column, line.letter, line.colour, line.dash, line.last_x) for line in state.lines)
    return state.title, state.unit, state.x_unit, state.empty, state.markers, state.range, lines


def _trace(line: Line, state: ChartState, range_: tuple[float, float], count: int) -> Trace:
    series = line.series
    first, last = range_
    if line.last_x is not None:
        last = min(last, line.last_x)
    columns = tuple(_column(bucket, series, state, first, last) for bucket in series.buckets(first, last, count))
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
