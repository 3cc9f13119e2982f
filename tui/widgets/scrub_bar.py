"""A run over time as a slider: how many records fall into each column, what happened where, and what is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from attrs import evolve as replace
from attrs import frozen
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from kd.views.timeline import Axis, MarkerKind, TimeColumn, Timeline, column_of
from tui.themes import ASCII, Glyphs, glyphs_of, palette_of
from tui.widgets.figures import span
from tui.widgets.painting import Pieces, fitted, merged, paint

__all__ = ["AXES", "MARKERS", "ScrubBar", "ScrubState"]

AXES: Mapping[Axis, str] = {"position": "seq", "time_ms": "time", "step": "step"}
"""What the columns are equal parts of, as it is called on screen."""
MARKERS: Mapping[MarkerKind, tuple[str, str, int]] = {
    "error": ("failed", "bad", 9),
    "verdict": ("gate", "accent", 8),
    "request": ("paused", "paused", 7),
    "answer": ("paused", "paused", 6),
    "run": ("play", "good", 5),
    "stage": ("play", "accent", 4),
    "gate": ("gate", "text", 3),
    "owner": ("running", "muted", 2),
    "checkpoint": ("marker", "held", 1),
    "validation": ("marker", "good", 1),
    "tree_head": ("signed", "muted", 0),
}
"""Sign, colour and rank of each kind: of several in one column the highest is drawn."""
_BARS, _PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*##"
_BENEATH = 3
"""Lines of rail, pointers and axis."""


@frozen(kw_only=True)
class ScrubState:
    """What the slider shows."""

    timeline: Timeline | None = None
    """Up to the newest record: where the view can go."""
    position: int = -1
    """What is looked at."""
    is_live: bool = True
    axis: Axis = "time_ms"
    pins: tuple[int, ...] = ()
    """Positions of A and B."""


class ScrubBar(Widget, can_focus=True):
    """Click or drag to go somewhere; it asks, and the screen that holds it seeks."""

    DEFAULT_CSS = "ScrubBar { height: 7; background: $kd-background; color: $kd-text; }"

    state: reactive[ScrubState] = reactive(ScrubState(), always_update=True)

    @dataclass
    class Picked(Message):
        """Bar to screen: show this position."""

        position: int

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ScrubBar.Picked)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn: tuple[object, list[Pieces]] = (None, [])
        self._columns: tuple[TimeColumn, ...] = ()
        self._dragged = False

    def do_axis(self) -> None:
        names = list(AXES)
        self.state = replace(self.state, axis=names[(names.index(self.state.axis) + 1) % len(names)])

    def render_line(self, y: int) -> Strip:
        width, palette, glyphs = self.size.width, palette_of(self.app), glyphs_of(self.app)
        timeline = self.state.timeline
        if timeline is None or not len(timeline.rows):
            words = f"reading the run{glyphs.ellipsis}" if self.state.position >= 0 else "no run is open: choose one on screen 1"
            return paint(((f" {words}", "muted"),) if y == 1 else (), width=width, palette=palette)
        lines = self._lines(timeline, width, glyphs)
        height = len(lines) - 2
        if y == height + 1:
            return paint(self._pointers(width, glyphs), width=width, palette=palette)
        line = lines[y] if y <= height else lines[-1] if y == height + 2 else ()
        return paint(self._lit(line) if y < height else line, width=width, palette=palette)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = True
        self.capture_mouse()
        self._pick(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged:
            self._pick(event.x)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self._dragged = False
        self.release_mouse()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._step(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._step(-1)

    def do_pan_right(self) -> None:
        self._step(1)

    def do_pan_left(self) -> None:
        self._step(-1)

    def do_top(self) -> None:
        self._pick(1)

    def do_bottom(self) -> None:
        self._pick(self.size.width)

    @property
    def columns(self) -> tuple[TimeColumn, ...]:
        """The columns as drawn last."""
        return self._columns

    def _pick(self, x: int) -> None:
        if self._columns:
            column = self._columns[min(max(x - 1, 0), len(self._columns) - 1)]
            self.post_message(self.Picked(column.last_position))

    def _step(self, by: int) -> None:
        """Go so many columns on."""
        if self._columns:
            self._pick(1 + column_of(self._columns, self.state.position) + by)

    def _lines(self, timeline: Timeline, width: int, glyphs: Glyphs) -> list[Pieces]:
        """Bars, rail and axis, which only new records change."""
        height = max(self.size.height - _BENEATH, 1)
        key = (len(timeline.rows), len(timeline.markers), self.state.axis, width, height, glyphs, timeline.run)
        if self._drawn[0] != key:
            self._columns = timeline.columns(self.state.axis, max(width - 2, 1))
            lines = [*_bars(self._columns, height, glyphs), _rail(timeline, self._columns, glyphs), self._axis(timeline, width, glyphs)]
            self._drawn = key, lines
        return self._drawn[1]

    def _lit(self, line: Pieces) -> Pieces:
        """A line of bars: what was is lit, what came after the moment that is looked at is not."""
        (_, _), (text, _) = line
        here = min(column_of(self._columns, self.state.position), len(text) - 1) + 1
        return (" ", "text"), (text[:here], "accent"), (text[here:], "muted")

    def _pointers(self, width: int, glyphs: Glyphs) -> Pieces:
        """What is looked at, and the pins."""
        cells = [(" ", "text")] * width
        for name, pin in zip("AB", self.state.pins):
            cells[1 + min(column_of(self._columns, pin), width - 2)] = (name, "bold accent")
        here = 1 + min(column_of(self._columns, self.state.position), width - 2)
        is_pin = cells[here][0] != " "
        cells[here] = (cells[here][0] if is_pin else glyphs.pointer, "bold good" if self.state.is_live else "bold held")
        return merged(cells)

    def _axis(self, timeline: Timeline, width: int, glyphs: Glyphs) -> Pieces:
        rows, axis = timeline.rows, self.state.axis
        first, last = rows.key_at(0, axis), rows.key_at(len(rows) - 1, axis)
        if axis == "time_ms":
            left, right = "0", span((last - first) / 1000)
        else:
            left, right = (f"{'@' if axis == 'position' else ''}{int(end):,}" for end in (first, last))
        middle = f"axis: {AXES[axis]}"
        if axis == "time_ms" and len(timeline.gaps):
            middle += f"   {glyphs.gap} silence over 60 s"
        room = width - 2 - len(left) - len(right)
        return ((f" {left}", "muted"), *fitted(((middle.center(max(room, 0)), "muted"),), max(room, 0)), (f"{right} ", "muted"))


def _bars(columns: tuple[TimeColumn, ...], num_lines: int, glyphs: Glyphs) -> list[Pieces]:
    """Bars of so many lines, as high as the root of the number of records; any record at all shows."""
    signs = _PLAIN_BARS if glyphs is ASCII else _BARS
    most = max((column.num_records for column in columns), default=0) or 1
    eighths = [0 if column.num_records < 0.5 else max(round(math.sqrt(column.num_records / most) * 8 * num_lines), 1) for column in columns]
    lines: list[Pieces] = []
    for line in range(num_lines):
        floor = 8 * (num_lines - 1 - line)
        text = "".join((glyphs.gap if column.is_gap else signs[min(max(height - floor, 0), 8)]) for column, height in zip(columns, eighths))
        lines.append(((" ", "text"), (text, "accent")))
    return lines


def _rail(timeline: Timeline, columns: tuple[TimeColumn, ...], glyphs: Glyphs) -> Pieces:
    """A line with a sign where something happened."""
    is_plain = glyphs is ASCII
    cells: list[tuple[str, str]] = [("-" if is_plain else "─", "muted")] * len(columns)
    ranks = [-1] * len(columns)
    for marker in timeline.markers:
        name, tone, rank = MARKERS[marker.kind]
        at = min(column_of(columns, marker.position), len(columns) - 1)
        if rank > ranks[at]:
            ranks[at], cells[at] = rank, (getattr(glyphs, name), tone)
    left, right = ("|", "|") if is_plain else ("├", "┤")
    return ((left, "muted"), *merged(cells), (right, "muted"))
