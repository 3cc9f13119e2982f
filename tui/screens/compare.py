"""The marked runs side by side: curves over one another, where their configs differ, and what may be compared of their measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from attrs import frozen
from textual.app import ComposeResult

from kd.views.comparison import ABSENT, ComparedRow, ConfigRow, compare_measurements, config_rows
from kd.views.loss_curve import Curve
from kd.views.run_summary import run_row
from kd.views.run_view import RunView
from kd.views.safe_text import safe_text
from tui.feed.details import Details
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.run_folds import RunFold, fold_run
from tui.keymap import Keymap
from tui.messages import DetailReady, RunAsked
from tui.screens.kd_screen import KdScreen
from tui.themes import Glyphs, glyphs_of
from tui.widgets.chart import Chart
from tui.widgets.chart_state import ChartState, Line
from tui.widgets.fact_lines import FactLines
from tui.widgets.figures import short, span
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows
from tui.widgets.stage_strip import progress_of, run_state

__all__ = ["CompareScreen"]

_LETTERS = "ABCDEFGH"
_DASHES = ("────", "╌╌╌╌", "····", "─ ─ ", "─·─·", "── ·", "· · ", "─ ··")
_RUNS = (
    Column("", 1),
    Column("line", 4),
    Column("run", 20, grows=True),
    Column("state", 13),
    Column("progress", 13, rank=2),
    Column("newest", 10, is_right=True),
    Column("verdict", 15, rank=1),
    Column("lasted", 12, is_right=True, rank=3),
)
_VALUE_CELLS = 15
_FIRST_METRIC = "loss"


@frozen(kw_only=True)
class _Compared:
    """A run of the comparison."""

    number: int
    view: RunView
    fold: RunFold | None
    """None while it is being read."""

    @property
    def letter(self) -> str:
        return _LETTERS[self.number]

    @property
    def tone(self) -> str:
        return f"series.{self.number}"

    def curve(self, name: str) -> Curve | None:
        return None if self.fold is None else self.fold.curves.curve(name)


class CompareScreen(KdScreen):
    """Runs, their curves, and a table of configs or measurements."""

    number = 8
    title_word = "compare"
    AUTO_FOCUS = "#runs VirtualLines"
    needs_run = False
    footer = ("open", "next_pane", "metric", "axis", "log_axis", "all_keys", "measurements", "remove_run", "live")
    DEFAULT_CSS: ClassVar[str] = """
    CompareScreen #curves { height: 1fr; min-height: 7; }
    CompareScreen #table { height: 1fr; min-height: 4; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.details = Details(feed, self.post_message)
        self._metric = _FIRST_METRIC
        self._is_all_keys = False
        self._has_measurements = False
        self._folds: dict[str, RunFold] = {}
        self._asked: dict[str, int] = {}
        self._runs: tuple[_Compared, ...] = ()

    def compose_body(self) -> ComposeResult:
        yield RowList(id="runs")
        yield Chart(id="curves")
        yield FactLines(id="title", classes="-title")
        yield RowList(id="table")

    def on_unmount(self) -> None:
        self.details.stop()

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self.details.is_idle

    def show(self, frame: Frame) -> None:
        chosen = self.feed.marked or (() if frame.run is None else (frame.run,))
        views = [frame.runs[run] for run in chosen if run in frame.runs]
        self._runs = tuple(
            _Compared(number=number, view=view, fold=self._fold(view, frame)) for number, view in enumerate(views[: len(_LETTERS)])
        )
        self._show_runs(frame)
        self._show_curves()
        self._show_table()

    def header_facts(self, frame: Frame) -> str:
        return f"{len(self._runs)} run{'' if len(self._runs) == 1 else 's'}"

    def on_resize(self) -> None:
        self._show_table()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        if message.list.id == "runs":
            self.post_message(RunAsked(self._runs[message.index].view.id))

    def on_detail_ready(self, message: DetailReady) -> None:
        self.redraw()

    def do_metric(self) -> None:
        """The next curve that any of the runs has."""
        names = list(
            dict.fromkeys(curve.name for run in self._runs if run.fold for curve in run.fold.curves.curves() if curve.axis == "step")
        )
        if names:
            self._metric = names[(names.index(self._metric) + 1) % len(names)] if self._metric in names else names[0]
        self.redraw()

    def do_all_keys(self) -> None:
        self._is_all_keys, self._has_measurements = not self._is_all_keys, False
        self._show_table()

    def do_measurements(self) -> None:
        self._has_measurements = not self._has_measurements
        self._show_table()

    def do_remove_run(self) -> None:
        index = self.query_one("#runs", RowList).chosen
        if index is not None and self._runs[index].view.id in self.feed.marked:
            self.feed.toggle_mark(self._runs[index].view.id)
            self.redraw()

    def do_axis(self) -> None:
        self.query_one(Chart).do_axis()

    def do_log_axis(self) -> None:
        self.query_one(Chart).do_log_axis()

    def do_half_life(self) -> None:
        self.query_one(Chart).do_half_life()

    def do_zoom_in(self) -> None:
        self.query_one(Chart).do_zoom_in()

    def do_zoom_out(self) -> None:
        self.query_one(Chart).do_zoom_out()

    def do_pan_left(self) -> None:
        self.query_one(Chart).do_pan_left()

    def do_pan_right(self) -> None:
        self.query_one(Chart).do_pan_right()

    def do_reset_zoom(self) -> None:
        self.query_one(Chart).do_reset_zoom()

    def _fold(self, view: RunView, frame: Frame) -> RunFold | None:
        """The run at the frame's position, or a little before it while the rest is being read."""
        run, stop = view.id, view.last_position + 1
        known = self._folds.get(run)
        asked = self._asked.get(run)
        if asked is not None and asked <= stop and self.details.is_wanted(("fold", run, asked)):
            stop = asked
        self._asked[run] = stop
        found = self.details.get(("fold", run, stop), lambda store: fold_run(store, run, stop, before=known))
        if isinstance(found, RunFold):
            self._folds[run] = known = found
        return known if known is not None and known.stop <= frame.position + 1 else None

    def _show_runs(self, frame: Frame) -> None:
        runs, glyphs, metric = self._runs, glyphs_of(self.app), self._metric
        table = self.query_one("#runs", RowList)
        table.styles.height = min(max(len(runs), 1) + 1, 9)
        table.rows = Rows(
            columns=_RUNS,
            num_rows=len(runs),
            cells=lambda index: _run_cells(runs[index], metric, frame, glyphs),
            key=lambda index: runs[index].view.id,
            empty="no run is marked: c on screen 1 marks up to eight",
        )

    def _show_curves(self) -> None:
        curves = [(run, run.curve(self._metric)) for run in self._runs]
        lines = tuple(
            Line(series=curve.series, letter=run.letter, colour=run.number, dash=run.number) for run, curve in curves if curve is not None
        )
        unit = next((curve.unit for _, curve in curves if curve is not None), "")
        waits = any(run.fold is None for run in self._runs)
        empty = "reading the runs" if waits else f"none of the runs has recorded {self._metric.replace('_', ' ')}"
        chart = self.query_one(Chart)
        chart.give(ChartState(title=self._metric.replace("_", " "), unit=unit, lines=lines, empty=empty), is_at_once=True)

    def _show_table(self) -> None:
        runs, glyphs = self._runs, glyphs_of(self.app)
        table, title = self.query_one("#table", RowList), self.query_one("#title", FactLines)
        known = [run for run in runs if run.fold is not None]
        letters = tuple(
            Column(run.letter, _VALUE_CELLS, grows=not self._has_measurements, is_right=self._has_measurements, rank=run.number)
            for run in known
        )
        if self._has_measurements:
            measured = compare_measurements([run.fold.facts for run in known if run.fold is not None])
            num_comparable = sum(not row.reasons for row in measured)
            title.lines = ((("measurements", "bold text"), (f"  {num_comparable} of {len(measured)} may be compared", "muted")),)
            self._fit_table(len(measured))
            table.rows = Rows(
                columns=(Column("metric", 30), *letters, Column("may be compared", 16, grows=True, rank=9)),
                num_rows=len(measured),
                cells=lambda index: _measured_cells(measured[index], glyphs),
                key=lambda index: (measured[index].suite, measured[index].slice, measured[index].metric),
                empty="none of the runs has a measurement yet",
            )
            return
        every = config_rows([run.fold.facts.config for run in known if run.fold is not None], is_all=True)
        rows = every if self._is_all_keys else tuple(row for row in every if not row.is_equal)
        num_different = sum(not row.is_equal for row in every)
        self._fit_table(len(rows))
        title.lines = ((("config", "bold text"), (f"  {num_different} of {len(every)} keys differ", "muted")),)
        table.rows = Rows(
            columns=(Column("key", 30, grows=True), *letters),
            num_rows=len(rows),
            cells=lambda index: _config_cells(rows[index], glyphs),
            key=lambda index: rows[index].path,
            empty=_no_difference(runs, known),
        )

    def _fit_table(self, num_rows: int) -> None:
        """No more room for the table than it fills; the rest is the chart's."""
        self.query_one("#table", RowList).styles.height = min(max(num_rows, 1) + 1, max(self.size.height // 2 - 2, 4))


def _run_cells(run: _Compared, metric: str, frame: Frame, glyphs: Glyphs) -> Sequence[Pieces]:
    view, is_owned = run.view, run.view.id in frame.owned
    progress, verdict = progress_of(view), run_row(view, is_owned=is_owned)["verdict"]
    curve = run.curve(metric)
    last = None if curve is None else curve.series.last
    return (
        ((run.letter, f"bold {run.tone}"),),
        ((run.letter * 4 if glyphs.full == "#" else _DASHES[run.number], run.tone),),
        ((safe_text(view.id), "text"),),
        (run_state(view, is_owned=is_owned, glyphs=glyphs),),
        ((glyphs.dash if progress is None else f"{progress.done:,}/{progress.total:,}", "text"),),
        ((f"reading{glyphs.ellipsis}" if run.fold is None else short(None if last is None else last.value), "bold text"),),
        ((glyphs.dash if verdict is None else verdict.replace("_", " "), "text"),),
        ((span(view.seconds), "muted"),),
    )


def _config_cells(row: ConfigRow, glyphs: Glyphs) -> Sequence[Pieces]:
    tone = "muted" if row.is_equal else "text"
    values: Iterator[Pieces] = (
        ((glyphs.dash if value is ABSENT else _value(value), "muted" if value is ABSENT else tone),) for value in row.values
    )
    return (((safe_text(row.path), tone),), *values)


def _measured_cells(row: ComparedRow, glyphs: Glyphs) -> Sequence[Pieces]:
    tone = "muted" if row.reasons else "bold text"
    values: Iterator[Pieces] = (((short(None if found is None else found.value), tone),) for found in row.measurements)
    said = f"{glyphs.unknown} no: {'; '.join(row.reasons)}" if row.reasons else f"{glyphs.done} yes"
    name = ((safe_text(row.metric), "text"), (f"  {safe_text(row.suite)}/{safe_text(row.slice)}", "muted"))
    return (name, *values, ((safe_text(said), "warn" if row.reasons else "good"),))


def _value(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return safe_text(", ".join(str(each) for each in value) or "empty")
        case _:
            return safe_text(str(value))


def _no_difference(runs: Sequence[_Compared], known: Sequence[_Compared]) -> str:
    if not runs:
        return "no run is marked: c on screen 1 marks up to eight"
    if len(known) < len(runs):
        return "reading the runs"
    return "one run alone: c on screen 1 marks others" if len(runs) == 1 else "the configs are equal; a shows all keys"
