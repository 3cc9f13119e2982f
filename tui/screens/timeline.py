"""The open run over time: go to any record, play it again, and see what changed between two moments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

from attrs import evolve as replace
from attrs import frozen
from textual.app import ComposeResult

from kd.views.loss_curve import MetricCurves
from kd.views.moment_facts import Fact, facts_of
from kd.views.run_view import RunView
from kd.views.safe_text import safe_text
from kd.views.timeline import MarkerKind
from tui.feed.details import Absent, Details
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.origins import origins
from tui.keymap import Keymap
from tui.messages import DetailReady, RecordChosen
from tui.screens.scrubbing import ScrubbingScreen
from tui.themes import Glyphs, glyphs_of
from tui.widgets.fact_lines import FactLines
from tui.widgets.figures import num_bytes, short, span
from tui.widgets.scrub_bar import MARKERS, ScrubBar
from tui.widgets.stage_strip import run_state
from tui.widgets.state_diff import Difference, StateDiff

__all__ = ["TimelineScreen"]

_LEGEND: tuple[tuple[MarkerKind, str], ...] = (
    ("stage", "stage, run"),
    ("checkpoint", "checkpoint, validation"),
    ("request", "request, answer"),
    ("gate", "gate, verdict"),
    ("error", "error"),
    ("owner", "owner"),
    ("tree_head", "head"),
)


@frozen(kw_only=True)
class _Moment:
    """A place that was pinned, with what is compared."""

    position: int
    time_ms: int
    view: RunView
    curves: MetricCurves | None


class TimelineScreen(ScrubbingScreen):
    """The slider above, what changed beneath."""

    number = 3
    title_word = "timeline"
    AUTO_FOCUS = "ScrubBar"
    footer = (
        "previous_record", "next_record", "previous_marker", "next_marker", "play", "faster", "slower", "axis", "pin", "origin", "live",
    )  # fmt: skip
    DEFAULT_CSS: ClassVar[str] = """
    TimelineScreen ScrubBar { margin: 1 0 0 0; }
    TimelineScreen #moment { margin: 1 0 0 0; }
    TimelineScreen StateDiff { height: 1fr; margin: 1 0 0 0; }
    TimelineScreen.-short ScrubBar { height: 6; }
    TimelineScreen.-short ScrubBar, TimelineScreen.-short #moment, TimelineScreen.-short StateDiff { margin: 0; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.details = Details(feed, self.post_message)
        self._pins: tuple[_Moment, ...] = ()
        self._run: str | None = None

    def compose_body(self) -> ComposeResult:
        yield ScrubBar()
        yield FactLines(id="legend")
        yield FactLines(id="moment")
        yield StateDiff()

    def on_unmount(self) -> None:
        self.details.stop()

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self.details.is_idle

    @property
    def pins(self) -> tuple[int, ...]:
        """Positions of A and B, as far as they are pinned."""
        return tuple(moment.position for moment in self._pins)

    def show(self, frame: Frame) -> None:
        if frame.run != self._run:
            self._run, self._pins = frame.run, ()
        glyphs = glyphs_of(self.app)
        bar = self.query_one(ScrubBar)
        bar.state = replace(bar.state, timeline=frame.whole, position=frame.position, is_live=frame.is_live, pins=self.pins)
        self.query_one("#legend", FactLines).lines = (tuple(_legend(glyphs)),)
        self.query_one("#moment", FactLines).lines = (tuple(self._moment(frame, glyphs)),)
        self._show_changes(frame)

    def header_facts(self, frame: Frame) -> str:
        view = frame.run_view
        if view is None:
            return ""
        words, _ = run_state(view, is_owned=view.id in frame.owned, glyphs=glyphs_of(self.app))
        return words

    def link_position(self) -> int | None:
        changes = self.query_one(StateDiff)
        return changes.position if changes.lines.has_focus else None

    def play_changed(self, frame: Frame) -> None:
        self.redraw()

    def on_scrub_bar_picked(self, message: ScrubBar.Picked) -> None:
        self.stop_playing()
        self.seek(message.position)

    def on_row_list_opened(self, message: StateDiff.Opened) -> None:
        position = self.query_one(StateDiff).position
        if position is not None:
            self.post_message(RecordChosen(position))

    def on_detail_ready(self, message: DetailReady) -> None:
        self._show_changes(self.feed.frame)

    def on_resize(self) -> None:
        self.set_class(self.size.height < 30, "-short")

    def do_pin(self) -> None:
        here = _moment_of(self.feed.frame)
        if here is None:
            return
        pins = (here,) if len(self._pins) == 2 else (*(pin for pin in self._pins if pin.position != here.position), here)
        self._pins = tuple(sorted(pins, key=lambda moment: moment.position))
        self.redraw()

    def do_back(self) -> bool:
        if not self._pins:
            return False
        self._pins = ()
        self.redraw()
        return True

    def do_axis(self) -> None:
        self.query_one(ScrubBar).do_axis()

    def _moment(self, frame: Frame, glyphs: Glyphs) -> Iterator[tuple[str, str]]:
        """Pins, speed, and what happened last."""
        for name, moment in zip("AB", self._pins):
            yield f"{name} ", "bold accent"
            yield f"@{moment.position:,}   ", "text"
        if not frame.is_live:
            yield f"{glyphs.play if self.is_playing else glyphs.paused} {self.playback.speed}×".replace("×", "x"), "held"
            yield "   ", "text"
        if frame.timeline is None or not len(frame.timeline.rows):
            return
        rows = frame.timeline.rows
        since_ms = rows.key_at(len(rows) - 1, "time_ms") - rows.key_at(0, "time_ms")
        yield f"{span(since_ms / 1000)} after the first record", "muted"
        marker = frame.timeline.marker_before(frame.position + 1)
        if marker is not None:
            name, tone, _ = MARKERS[marker.kind]
            yield f"   {getattr(glyphs, name)} ", tone
            yield f"@{marker.position:,} ", "accent"
            yield safe_text(marker.text, max_cells=200), "text"

    def _show_changes(self, frame: Frame) -> None:
        here = _moment_of(frame)
        pane = self.query_one(StateDiff)
        if frame.run is None or here is None:
            pane.give((), "")
            return
        if not self._pins:
            pane.give((), "= pins this moment as A; what changes from there on is listed here")
            return
        a = self._pins[0]
        b = self._pins[1] if len(self._pins) == 2 else here
        a, b = (a, b) if a.position <= b.position else (b, a)
        is_still = len(self._pins) == 2 or (not frame.is_live and not self.is_playing)
        found = self._origins(a, b) if is_still and a.position < b.position else {}
        rows = tuple(_differences(a, b, found or {}))
        pane.give(rows, "this is A: go somewhere else to see what changes" if a.position == b.position else "nothing changed from A to B")

    def _origins(self, a: _Moment, b: _Moment) -> Mapping[str, int] | None:
        def make(store: object) -> Mapping[str, int]:
            assert self.feed.store is not None
            return origins(self.feed.store, self.feed.summary_before, a.view, a.position + 1, b.view, b.position + 1)

        found = self.details.get((a.view.id, a.position, b.position), make)
        return None if isinstance(found, Absent) else found


def _moment_of(frame: Frame) -> _Moment | None:
    view = frame.run_view
    return None if view is None else _Moment(position=frame.position, time_ms=frame.now_ms, view=view, curves=frame.curves)


def _legend(glyphs: Glyphs) -> Iterator[tuple[str, str]]:
    for kind, words in _LEGEND:
        name, tone, _ = MARKERS[kind]
        yield f"{getattr(glyphs, name)} ", tone
        yield f"{words}   ", "muted"


def _differences(a: _Moment, b: _Moment, found: Mapping[str, int]) -> Iterator[Difference]:
    old, new = facts_of(a.view), facts_of(b.view)
    for name in sorted(new):
        before, after = old.get(name), new[name]
        if name not in old or before != after:
            yield Difference(
                path=str(safe_text(name)),
                a=_words(name, before, is_there=name in old),
                b=_words(name, after, is_there=True),
                set_by=found.get(name),
            )
    yield from _curve_differences(a.curves, b.curves)


def _curve_differences(a: MetricCurves | None, b: MetricCurves | None) -> Iterator[Difference]:
    """The newest point of each curve, which knows its record."""
    for curve in () if b is None else b.curves():
        last = curve.series.last
        old = None if a is None else a.curve(curve.name)
        before = None if old is None else old.series.last
        if last is not None and (before is None or before.position != last.position):
            name = f"latest.{curve.name}"
            shown = [_curve_value(curve.unit, point.value) if point is not None else "–" for point in (before, last)]
            yield Difference(path=str(safe_text(name)), a=shown[0], b=shown[1], set_by=last.position)


def _curve_value(unit: str, value: float) -> str:
    return num_bytes(value) if unit == "bytes" and math.isfinite(value) else f"{short(value)} {unit}".strip()


def _words(name: str, value: Fact, *, is_there: bool) -> str:
    if not is_there:
        return "–"
    match value:
        case None:
            return "not measured"
        case str():
            return str(safe_text(value, max_cells=200))
        case _:
            return num_bytes(value) if name.endswith("_bytes") else short(value)
