"""The open run at one moment: its stages, how far and how fast it is, its curves, its figures, and what deserves attention."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from textual import events
from textual.app import ComposeResult
from textual.containers import Grid, Horizontal
from textual.widget import Widget

from kd.views.safe_text import safe_text
from tui.feed.details import Absent, Details
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.run_folds import points_between
from tui.keymap import Keymap
from tui.messages import DetailReady
from tui.screens.scrubbing import ScrubbingScreen
from tui.themes import glyphs_of
from tui.widgets.alert_line import alert_line
from tui.widgets.chart import Chart
from tui.widgets.fact_lines import FactLines
from tui.widgets.metric_table import MetricTable
from tui.widgets.plot import num_columns
from tui.widgets.run_charts import charts_of
from tui.widgets.run_figures import figures_of, progress_pieces
from tui.widgets.stage_strip import StageStrip, run_state

__all__ = ["RunScreen"]

_NUM_CHARTS = 12
_MIN_CHART_HEIGHT = 7
_MIN_CHART_WIDTH = 36


class RunScreen(ScrubbingScreen):
    """Charts to the left, figures to the right; both follow the size of the terminal."""

    number = 2
    title_word = "run"
    AUTO_FOCUS = "#figures"
    footer = (
        "pause", "cancel", "resume", "waive", "open", "next_pane", "zoom", "log_axis", "half_life", "axis", "zoom_in", "live",
        "timeline_screen",
    )  # fmt: skip
    DEFAULT_CSS: ClassVar[str] = """
    RunScreen StageStrip { margin: 0 1; }
    RunScreen #panes { height: 1fr; }
    RunScreen #charts { width: 1fr; height: 100%; }
    RunScreen #figures { width: 32; height: 100%; padding: 0 1; }
    RunScreen.-narrow #figures { width: 26; padding: 0 0 0 1; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.details = Details(feed, self.post_message)

    def compose_body(self) -> ComposeResult:
        yield StageStrip()
        yield FactLines(id="progress")
        with Horizontal(id="panes"):
            with Grid(id="charts"):
                for _ in range(_NUM_CHARTS):
                    yield Chart()
            yield MetricTable(id="figures")
        yield FactLines(id="alerts")

    def on_mount(self) -> None:
        self._num_charts = 0
        self._zoomed: Widget | None = None
        self._charts = tuple(self.query(Chart))
        for chart in self._charts:
            chart.display = False
        super().on_mount()

    def on_unmount(self) -> None:
        self.details.stop()

    def show(self, frame: Frame) -> None:
        view, glyphs = frame.run_view, glyphs_of(self.app)
        strip = self.query_one(StageStrip)
        strip.is_owned = view is not None and view.id in frame.owned
        strip.view = view
        self.query_one("#progress", FactLines).lines = (progress_pieces(frame, glyphs, self.size.width - 2),)
        self.query_one(MetricTable).give(*figures_of(frame, glyphs))
        self.query_one("#alerts", FactLines).lines = (alert_line(frame, glyphs),)
        states = charts_of(frame.curves, frame.timeline, None if frame.progress is None else frame.progress.stage)
        for chart, state in zip(self._charts, states):
            if chart.display or not frame.is_live or not chart.state.title:
                chart.give(state, is_at_once=not frame.is_live)
            else:
                chart.keep(state)
        if len(states) != self._num_charts:
            self._num_charts = len(states)
            self._arrange()

    def on_chart_zoomed(self, message: Chart.Zoomed) -> None:
        self._refine(message.chart)

    def on_detail_ready(self, message: DetailReady) -> None:
        for chart in self._charts:
            self._refine(chart)

    def _refine(self, chart: Chart) -> None:
        """Have a zoomed chart draw single points where its series keeps summaries."""
        window, run = chart.state.window, self.feed.frame.run
        if window is None or run is None or not chart.state.lines:
            return
        series = chart.state.lines[0].series
        place = series.raw_positions(*window, num_columns(chart.size.width))
        if place is None or chart.state.lines[0].fine is not None:
            return
        first, last = place
        points = self.details.get(("points", run, first, last), lambda store: points_between(store, run, first, last))
        if points is not None and not isinstance(points, Absent):
            chart.refine(window, points)

    def header_facts(self, frame: Frame) -> str:
        view = frame.run_view
        if view is None:
            return ""
        words, _ = run_state(view, is_owned=view.id in frame.owned, glyphs=glyphs_of(self.app))
        words += "  needs a newer kd" if view.num_unknown else ""
        owner = frame.owners.get(view.id) if view.id in frame.owned else None
        return words if owner is None else f"{words} {safe_text(owner)}"

    def link_position(self) -> int | None:
        focused = self.focused
        return focused.position if isinstance(focused, Chart | MetricTable) else None

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self.details.is_idle and all(chart.is_settled for chart in self._charts)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < 100, "-narrow")
        self.call_after_refresh(self._arrange)
        if self._shown is not None:
            self.query_one("#progress", FactLines).lines = (progress_pieces(self._shown, glyphs_of(self.app), event.size.width - 2),)

    def do_zoom(self) -> None:
        focused = self.focused
        self._zoomed = None if self._zoomed is not None or not isinstance(focused, Chart | MetricTable) else focused
        self._arrange()

    def do_back(self) -> bool:
        if self._zoomed is None:
            return False
        self.do_zoom()
        return True

    def _arrange(self) -> None:
        """Give the charts that fit their places in the grid."""
        panes, grid, figures = self.query_one("#panes"), self.query_one("#charts", Grid), self.query_one(MetricTable)
        zoomed = self._zoomed
        figures.display = zoomed is None or zoomed is figures
        figures.styles.width = "1fr" if zoomed is figures else None
        grid.display = zoomed is not figures and self._num_charts > 0
        width = panes.size.width - (0 if zoomed is not None else 26 if self.has_class("-narrow") else 32)
        layout = _Layout.of(width, panes.size.height, 1 if isinstance(zoomed, Chart) else self._num_charts)
        grid.styles.grid_size_columns, grid.styles.grid_size_rows = layout.num_units, layout.num_rows
        shown = [zoomed] if isinstance(zoomed, Chart) else list(self._charts[: len(layout.spans)])
        for chart in self._charts:
            chart.display = chart in shown
        for chart, span in zip(shown, layout.spans):
            chart.styles.column_span = span


@frozen
class _Layout:
    """Charts in rows: how many units wide the grid is, and how many each chart takes."""

    num_units: int
    num_rows: int
    spans: tuple[int, ...]

    @classmethod
    def of(cls, width: int, height: int, num_charts: int) -> _Layout:
        """As many charts as fit, the first ones wider where the last row would stay empty."""
        num_columns = max(min(width // _MIN_CHART_WIDTH, 4, num_charts), 1)
        num_rows = max(min(height // _MIN_CHART_HEIGHT, -(-num_charts // num_columns)), 1)
        if num_charts >= 5 and num_columns == 1 and num_rows >= 2 and width >= 48:
            return cls(6, 2, (3, 3, 2, 2, 2))
        if num_columns == 1 and num_rows >= 2 and width >= 40 and num_charts > 1:
            num_columns = 2
        while num_rows > 1 and (num_rows - 1) * num_columns >= num_charts:
            num_rows -= 1
        count = min(num_charts, num_rows * num_columns)
        missing = num_rows * num_columns - count
        spans = [1] * count
        for at in range(min(missing, count)):
            spans[at] = 2 if num_columns > 1 else 1
        return cls(num_columns, num_rows, tuple(spans))
