"""Charts: every point counts, whatever the zoom, and what is no number is marked."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from textual.app import App, ComposeResult

from kd.views.series import SeriesTable
from tests.tui.pilots import wait_for
from tui.themes import ASCII, PALETTES, UNICODE, textual_theme
from tui.widgets.chart import Chart
from tui.widgets.chart_state import ChartState, Line, plot_of
from tui.widgets.plot import Plot, Trace, draw_plot, num_columns
from tui.widgets.plot_scale import Column
from tui.widgets.raster import Dots, Raster

_DARK = PALETTES["kd-dark"]


def table(num_points: int, value: Callable[[int], float]) -> SeriesTable:
    """One column over steps, with tokens and times."""
    found = SeriesTable(("loss",), ("time_ms", "num_tokens", "active_seconds"))
    for step in range(1, num_points + 1):
        found = found.push(step, step, (value(step),), (step * 500.0, step * 100.0, step * 0.5))
    return found


def chart(points: SeriesTable, **more: object) -> ChartState:
    """A chart of one line."""
    return ChartState(title="loss", unit="nats", lines=(Line(series=points.series("loss")),), **more)


def text_of(plot: Plot, width: int = 60, height: int = 12, *, is_ascii: bool = False) -> list[str]:
    """The picture's characters."""
    return [strip.text for strip in draw_plot(plot, width, height, _DARK, ASCII if is_ascii else UNICODE)]


class ChartApp(App[None]):
    """A chart alone."""

    def __init__(self, state: ChartState) -> None:
        super().__init__()
        self._first = state
        for palette in PALETTES.values():
            self.register_theme(textual_theme(palette))
        self.theme = "kd-dark"

    def compose(self) -> ComposeResult:
        yield Chart(self._first)


@pytest.mark.parametrize("zoom", range(0, 12, 2))
@pytest.mark.parametrize("width", [20, 61, 118])
def test_a_one_step_spike_is_drawn_at_every_zoom(width: int, zoom: int) -> None:
    """One step of 30,000 reaches the upper edge of every picture that it is in."""
    points = table(30_000, lambda step: 9.0 if step == 12_345 else 1.0)
    reach = 30_000 / 2**zoom / 2
    window = (max(12_345 - reach, 1), min(12_345 + reach, 30_000))
    plot = plot_of(chart(points, window=window), width)
    above = text_of(plot, width)[1][1:-1].strip(" 9")
    assert above, f"no spike between {window}"


def test_a_picture_has_exactly_its_size() -> None:
    """Every line has the width it was given, at any size, in braille and in ASCII."""
    points = table(300, lambda step: math.sin(step / 20))
    for width, height in ((8, 3), (25, 4), (26, 9), (61, 13), (200, 50)):
        for is_ascii in (False, True):
            lines = text_of(plot_of(chart(points), width, is_focused=True), width, height, is_ascii=is_ascii)
            assert [len(line) for line in lines] == [width] * height


def test_ascii_pictures_hold_ascii_alone() -> None:
    """Without Unicode no braille, no box and no other sign is drawn, but for the dash of a missing number."""
    points = table(300, lambda step: math.nan if step == 9 else float(step))
    lines = text_of(plot_of(chart(points), 60), is_ascii=True)
    assert all(line.isascii() for line in lines)


def test_what_is_no_number_is_a_cross_and_counted() -> None:
    """A step whose loss is not finite is a cross on the lower edge, counted in the title."""
    lines = text_of(plot_of(chart(table(100, lambda step: math.inf if step == 50 else 1.0)), 60))
    assert "✗1" in lines[0]
    assert "✗" in lines[-2]


def test_a_log_axis_marks_what_has_no_logarithm() -> None:
    """On a log axis values at or below 0 are crosses too, and the axis ends at the smallest positive one."""
    points = table(60, lambda step: -1.0 if step == 30 else 10.0 ** (step % 3))
    lines = text_of(plot_of(chart(points, is_log=True), 60))
    assert "✗1" in lines[0]
    assert "log" in lines[0]
    assert lines[1][1:8].strip() == "100"
    assert lines[-2][1:8].strip() == "1"


def test_lines_break_at_a_cross() -> None:
    """Neighbours of a value that cannot be drawn are not joined across it."""
    columns = (Column(0, 0, 0), Column(5, math.nan, math.nan, 1), Column(10, 1, 1))
    trace = Trace(columns=columns)
    whole = Trace(columns=(columns[0], columns[2]))
    width = 20
    broken, joined = (text_of(Plot(title="x", traces=(t,), first_x=0, last_x=10), width, 8) for t in (trace, whole))
    assert sum(map(_num_drawn, broken)) < sum(map(_num_drawn, joined))


def _num_drawn(line: str) -> int:
    return sum("\u2801" <= character <= "\u28ff" for character in line)


def test_columns_whose_ranges_do_not_meet_are_joined() -> None:
    """Between two points far apart every dot column has a dot."""
    raster = Raster(4, 4)
    raster.draw_band(0, [Dots(0, 0.0, 0.0), Dots(7, 1.0, 1.0)])
    masks = [mask for row in raster.rows() for mask, _ in row]
    assert sum(mask.bit_count() for mask in masks) >= 16
    for x in range(4):
        column = [masks[y * 4 + x] for y in range(4)]
        assert any(mask & 0x47 for mask in column)
        assert any(mask & 0xB8 for mask in column)


def test_a_line_is_drawn_before_its_band() -> None:
    """Where a smoothed line passes, the cell has the line's layer, and the band's dots of that column give way."""
    raster = Raster(1, 1)
    raster.draw_band(0, [Dots(0, 0.0, 1.0), Dots(1, 0.0, 1.0)])
    raster.draw_line(1, [Dots(0, 0.0, 0.0), Dots(1, 0.0, 0.0)])
    assert next(raster.rows()) == [(0xC0, 1)]


def test_dashes_leave_cells_out() -> None:
    """A dashed line has no dots in every fourth cell, so that lines differ without colour."""
    raster = Raster(8, 1)
    raster.draw_band(0, [Dots(column, 0.5, 0.5) for column in range(16)], (1, 1, 1, 0))
    assert [bool(mask) for mask, _ in next(raster.rows())] == [True, True, True, False] * 2


def test_several_lines_end_in_their_letters() -> None:
    """Lines of one chart are told apart by letters, which the title explains."""
    points = table(200, lambda step: step / 100)
    others = table(200, lambda step: 2 - step / 100)
    lines = tuple(
        Line(series=one.series("loss"), letter=letter, name=name) for one, letter, name in ((points, "A", "first"), (others, "B", "other"))
    )
    picture = text_of(plot_of(ChartState(title="both", lines=lines), 60))
    assert "A first B other" in picture[0]
    assert any(line[-2] == "A" for line in picture[1:-1])
    assert any(line[-2] == "B" for line in picture[1:-1])


def test_an_empty_chart_says_why() -> None:
    """Where nothing was recorded the picture holds the reason, in words."""
    lines = text_of(plot_of(ChartState(title="validation", empty="no validation was configured"), 60))
    assert any("no validation was configured" in line for line in lines)


def test_markers_stand_on_the_axis() -> None:
    """Checkpoints are signs on the lower frame, at their step."""
    lines = text_of(plot_of(chart(table(100, float), markers=(50.0,)), 60))
    inner = lines[-1][8:-1]
    assert abs(inner.index("◆") - len(inner) / 2) <= 1


def test_the_number_of_columns_follows_the_width() -> None:
    """A plot asks for two dot columns a cell, less frame and labels."""
    assert num_columns(20) == 36
    assert num_columns(60) == 102


async def test_keys_change_axis_smoothing_scale_and_window() -> None:
    """l, h, x, zoom and pan change the picture; what they chose stays when new points come."""
    random.seed(1)
    points = table(500, lambda step: random.random())
    app = ChartApp(chart(points))
    async with app.run_test(size=(60, 14)):
        shown = app.query_one(Chart)
        shown.do_log_axis()
        shown.do_half_life()
        shown.do_axis()
        shown.do_zoom_in()
        shown.do_pan_left()
        before = shown.state
        assert (before.is_log, before.half_life, before.axis) == (True, 200.0, "num_tokens")
        assert before.window == pytest.approx((1 + 499 / 8, 500 - 499 * 3 / 8))
        shown.give(chart(points.push(501, 501, (0.5,), (1.0, 1.0, 1.0))), is_at_once=True)
        after = shown.state
        assert (after.is_log, after.half_life, after.axis, after.window) == (True, 200.0, "num_tokens", before.window)
        assert len(after.lines[0].series.table) == 501
        shown.do_reset_zoom()
        assert shown.state.window is None


async def test_many_new_points_are_drawn_once_and_none_is_lost() -> None:
    """Of states that come quickly the first is drawn at once and the newest a little later."""
    points = table(10, float)
    app = ChartApp(ChartState(title="loss"))
    async with app.run_test(size=(60, 14)) as pilot:
        shown = app.query_one(Chart)
        for step in range(11, 31):
            points = points.push(step, step, (1.0,), (float(step),) * 3)
            shown.give(chart(points))
        assert len(shown.state.lines[0].series.table) == 11
        assert not shown.is_settled
        await wait_for(pilot, lambda: shown.is_settled)
        assert len(shown.state.lines[0].series.table) == 30
