"""A chart of one or several series: every point counts at every zoom, and drawing costs the same for any number of points.

The picture is drawn anew when state or size change, at most twice a second while new points arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

from attrs import evolve as replace
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from kd.views.loss_curve import MetricCurves
from kd.views.series import HALF_LIFE
from tui.themes import glyphs_of, palette_of
from tui.widgets.chart_state import Axis, ChartState, detail_of, plot_of
from tui.widgets.painting import paint, wrapped
from tui.widgets.plot import draw_plot

__all__ = ["Chart"]

_AXES: tuple[Axis, ...] = ("x", "num_tokens", "active_seconds", "time_ms")
_HALF_LIVES = (HALF_LIFE, 200.0, 1000.0, 0.0, 10.0)
"""In the order in which the key goes round; 0 draws no smoothed line."""
_REDRAW_SECONDS = 0.5
_ZOOM = 2.0
_LEAST_ROWS = 4
"""Of the picture, however many points are shown below it."""


class Chart(Widget, can_focus=True):
    """A framed chart; its keys are those of the scope `charts`."""

    DEFAULT_CSS = "Chart { height: 1fr; background: $kd-background; color: $kd-text; }"

    state: reactive[ChartState] = reactive(ChartState(title=""), always_update=True)

    @dataclass
    class Zoomed(Message):
        """Chart to screen: another window is shown; its points may be read singly, see `Series.raw_positions`."""

        chart: Chart

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

    def refine(self, window: tuple[float, float], curves: MetricCurves) -> None:
        """Draw the points of `curves` singly, if the window is still the same."""
        if self.state.window == window:
            found = ((line, curves.curve(line.series.name)) for line in self.state.lines)
            lines = tuple(line if curve is None else replace(line, fine=curve.series) for line, curve in found)
            self.state = replace(self.state, lines=lines)

    def watch_state(self) -> None:
        self._strips = []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if not self._strips:
            self._strips = self._drawn()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def do_open(self) -> None:
        self.state = replace(self.state, is_open=not self.state.is_open)

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
        self.look_at(None)

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

    def _drawn(self) -> list[Strip]:
        """The picture, and below it the newest points in full if they were asked for."""
        (width, height), palette, glyphs = self.size, palette_of(self.app), glyphs_of(self.app)
        detail = [line for pieces in detail_of(self.state) for line in wrapped(pieces, width)] if self.state.is_open else []
        del detail[max(height - _LEAST_ROWS, 0) :]
        plot = plot_of(self.state, width, is_focused=self.has_focus)
        strips = draw_plot(plot, width, height - len(detail), palette, glyphs)
        return [*strips, *(paint(pieces, width=width, palette=palette) for pieces in detail)]

    def _take_next(self) -> None:
        self._rest = None
        if self._next is not None:
            self.state, self._next = _as_chosen(self._next, self.state), None
            self._rest = self.set_timer(_REDRAW_SECONDS, self._take_next)

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
        self.look_at((start, start + width))

    def look_at(self, window: tuple[float, float] | None) -> None:
        """Show the x from the first to the last number alone, or everything."""
        lines = tuple(replace(line, fine=None) for line in self.state.lines)
        self.state = replace(self.state, window=window, lines=lines)
        self.post_message(self.Zoomed(self))


def _as_chosen(state: ChartState, now: ChartState) -> ChartState:
    """`state` with what was chosen by keys in `now`, and with the single points that were read for it."""
    fine = {line.series.name: line.fine for line in now.lines}
    lines = tuple(replace(line, fine=fine.get(line.series.name)) for line in state.lines) if any(fine.values()) else state.lines
    chosen = {name: getattr(now, name) for name in ("axis", "half_life", "is_log", "is_open", "window")}
    return replace(state, **chosen, lines=lines)


def _data(state: ChartState) -> tuple[object, ...]:
    """What makes a new picture necessary; series by identity of their table and its length, which is cheap."""
    lines = tuple((id(line.series.table), line.series.column, line.letter, line.colour, line.dash, line.last_x) for line in state.lines)
    return state.title, state.unit, state.x_unit, state.empty, state.markers, state.range, lines
