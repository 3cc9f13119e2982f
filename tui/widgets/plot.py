"""A chart's picture: a frame with title and axis, bands and lines as braille, signs for what is no number.

Heights are scaled to what is visible, so a one-step spike is always on the picture; on a log axis values that have no
logarithm are `✗` on the lower edge, like those that are not finite.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from attrs import field, frozen
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from tui.themes import ASCII, Glyphs, Palette
from tui.widgets.figures import num_bytes, short
from tui.widgets.plot_scale import Across, Column, Scale, dot_of, dots_of
from tui.widgets.raster import Dots, Raster, braille, plain

__all__ = ["Plot", "Trace", "draw_plot", "num_columns"]

_MIN_GUTTER_WIDTH = 26
_DASHES = ((1,), (1, 1, 1, 0), (1, 0), (1, 1, 0, 1, 0, 0))
"""Which cells of a line are drawn, over and over; several lines differ in it as well as in colour."""


@frozen(kw_only=True)
class Trace:
    """One line of a plot."""

    columns: Sequence[Column]
    """By rising `x`."""
    smooth: Sequence[tuple[float, float]] = ()
    """Points (x, y) of the smoothed line."""
    colour: int = 0
    dash: int = 0
    letter: str = ""
    """Stands at the line's end when a plot has several."""


@frozen(kw_only=True)
class Plot:
    """What is to be drawn."""

    title: str
    notes: tuple[str, ...] = ()
    """Behind the title, muted."""
    value: str = ""
    """In the upper right corner: the newest value."""
    traces: Sequence[Trace] = ()
    markers: Sequence[float] = ()
    """Places on the horizontal axis."""
    first_x: float = 0.0
    last_x: float = 1.0
    first_label: str = ""
    last_label: str = ""
    is_log: bool = False
    is_bytes: bool = False
    """Values are numbers of bytes."""
    empty: str = ""
    """Why there is nothing to draw."""
    is_focused: bool = False
    num_crosses: int = field(init=False)

    @num_crosses.default
    def _count(self) -> int:
        return sum(column.num_crosses for trace in self.traces for column in trace.columns)


def num_columns(width: int) -> int:
    """Dot columns of a plot that is `width` cells wide, its frame and its labels taken away."""
    return max(2 * (width - 2 - (_GUTTER if width >= _MIN_GUTTER_WIDTH else 0)), 2)


_GUTTER = 7


def draw_plot(plot: Plot, width: int, height: int, palette: Palette, glyphs: Glyphs) -> list[Strip]:
    """`height` strips of `width` cells."""
    if width < 8 or height < 3:
        return [Strip.blank(width, _style(palette.text, palette.background)) for _ in range(height)]
    pens = _Pens(plot, palette, glyphs)
    gutter = _GUTTER if width >= _MIN_GUTTER_WIDTH else 0
    inner = width - 2 - gutter
    body = _body(plot, inner, height - 2, pens)
    labels = _labels(plot, height - 2, gutter)
    side = Segment(pens.vertical, pens.frame)
    rows = [Strip([side, Segment(label, pens.muted), *cells, side], width) for label, cells in zip(labels, body)]
    return [_top(plot, width, pens), *rows, _bottom(plot, width, gutter, pens)]


class _Pens:
    """Styles and signs of one picture."""

    def __init__(self, plot: Plot, palette: Palette, glyphs: Glyphs) -> None:
        behind = palette.background
        self.blank = _style(palette.text, behind)
        self.frame = _style(palette.accent if plot.is_focused else _faded(palette.muted, palette), behind)
        self.muted = _style(palette.muted, behind)
        self.title = _style(palette.accent if plot.is_focused else palette.text, behind, bold=True)
        self.value = _style(palette.text, behind, bold=True)
        self.bad = _style(palette.bad, behind, bold=True)
        self.marker = _style(palette.held, behind)
        self.series = [_style(colour, behind) for colour in palette.series]
        self.bands = [_style(_faded(colour, palette), behind) for colour in palette.series]
        self.is_ascii = glyphs is ASCII
        self.glyphs = glyphs
        self.vertical, self.horizontal = ("|", "-") if self.is_ascii else ("│", "─")
        self.corners = ("+",) * 4 if self.is_ascii else ("┌", "┐", "└", "┘")
        self.draw = plain if self.is_ascii else braille

    def layer(self, number: int) -> Style:
        """Bands are even layers, lines odd ones."""
        return (self.series if number & 1 else self.bands)[(number >> 1) % len(self.series)]


@lru_cache(maxsize=256)
def _style(colour: str, background: str, *, bold: bool = False) -> Style:
    return Style(color=Color.parse(colour).rich_color, bgcolor=Color.parse(background).rich_color, bold=bold or None)


@lru_cache(maxsize=256)
def _faded(colour: str, palette: Palette) -> str:
    """Half way to the background, so that a line is seen before its band."""
    if colour.startswith("ansi"):
        return palette.muted
    return Color.parse(colour).blend(Color.parse(palette.background), 0.5).hex


def _body(plot: Plot, width: int, height: int, pens: _Pens) -> Iterator[list[Segment]]:
    scale = _scale(plot)
    if scale is None:
        return _empty(plot, width, height, pens)
    raster = Raster(width, height)
    ends: dict[tuple[int, int], tuple[str, Style]] = {}
    at = Across(plot.first_x, plot.last_x, width)
    for trace in plot.traces:
        has_line = len(trace.smooth) > 1
        layer = 2 * trace.colour
        dots = dots_of(trace.columns, at, scale, height)
        dashes = _DASHES[trace.dash % len(_DASHES)]
        if has_line:
            raster.draw_band(layer, dots)
            raster.draw_line(layer + 1, [dot_of(at.column(x), scale, y) for x, y in trace.smooth], dashes)
        else:
            raster.draw_band(layer + 1, dots, dashes)
        ends |= _crosses(trace, at, height, pens)
        ends |= _letter(plot, trace, dots, raster, ends, pens)
    return _rows(raster, ends, pens)


def _scale(plot: Plot) -> Scale | None:
    return Scale.of((column for trace in plot.traces for column in trace.columns), is_log=plot.is_log)


def _rows(raster: Raster, signs: dict[tuple[int, int], tuple[str, Style]], pens: _Pens) -> Iterator[list[Segment]]:
    for y, cells in enumerate(raster.rows()):
        row: list[Segment] = []
        text, style = "", pens.blank
        for x, (mask, layer) in enumerate(cells):
            sign = signs.get((x, y)) if signs else None
            if sign is not None:
                character, own = sign
            elif mask:
                character, own = pens.draw(mask), pens.layer(layer)
            else:
                character, own = " ", style
            if own is not style:
                row.append(Segment(text, style))
                text, style = "", own
            text += character
        row.append(Segment(text, style))
        yield row


def _empty(plot: Plot, width: int, height: int, pens: _Pens) -> Iterator[list[Segment]]:
    words = _wrapped(plot.empty, width - 2, height)
    top = (height - len(words)) // 2
    for y in range(height):
        text = words[y - top] if 0 <= y - top < len(words) else ""
        yield [Segment(text.center(width)[:width], pens.muted)]


def _wrapped(text: str, width: int, num_lines: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word[:width])
    return lines[:num_lines]


def _crosses(trace: Trace, at: Across, height: int, pens: _Pens) -> dict[tuple[int, int], tuple[str, Style]]:
    places = {at.column(column.x) >> 1 for column in trace.columns if column.num_crosses}
    return {(place, height - 1): (pens.glyphs.failed, pens.bad) for place in places}


def _letter(
    plot: Plot, trace: Trace, dots: Sequence[Dots | None], raster: Raster, taken: Collection[tuple[int, int]], pens: _Pens
) -> dict[tuple[int, int], tuple[str, Style]]:
    """The trace's letter behind its last point, in the nearest row that no other letter has."""
    last = next((dot for dot in reversed(dots) if dot is not None), None)
    if len(plot.traces) < 2 or last is None or not trace.letter:
        return {}
    x = min((last.column >> 1) + 1, raster.width - 1)
    y = raster.height - 1 - min(max(int((last.low + last.high) / 2 * raster.height), 0), raster.height - 1)
    free = [row for row in range(raster.height) if (x, row) not in taken]
    row = min(free, key=lambda row: abs(row - y), default=y)
    return {(x, row): (trace.letter, pens.layer(2 * trace.colour + 1))}


def _labels(plot: Plot, height: int, gutter: int) -> list[str]:
    """The values at the upper and the lower edge, and half way where there is room."""
    labels = [" " * gutter] * height
    scale = _scale(plot)
    if not gutter or scale is None:
        return labels
    ends = {0: 1.0, height - 1: 0.0} | ({height // 2: 1 - (height // 2) / (height - 1)} if height >= 7 else {})
    for row, fraction in ends.items():
        value = scale.low + fraction * (scale.high - scale.low)
        labels[row] = f"{_fitting(10**value if scale.is_log else value, gutter - 1, is_bytes=plot.is_bytes)} "
    return labels


def _fitting(value: float, width: int, *, is_bytes: bool) -> str:
    if is_bytes:
        return num_bytes(value).rjust(width)[:width]
    for digits in (4, 3, 2):
        text = short(value, digits=digits, is_trimmed=True)
        if len(text) <= width:
            return text.rjust(width)
    return f"{value:.0e}".rjust(width)[:width]


def _top(plot: Plot, width: int, pens: _Pens) -> Strip:
    """Title, unit, notes and the newest value; what does not fit is left out from the right end on."""
    notes = [*plot.notes, *(["log"] if plot.is_log else [])]
    parts = [Segment(f" {plot.title[: width - 4]} ", pens.title)]
    if plot.num_crosses:
        parts.append(Segment(f"{pens.glyphs.failed}{plot.num_crosses} ", pens.bad))
    room = width - 2 - sum(part.cell_length for part in parts)
    value = f" {plot.value} " if plot.value and len(plot.value) + 3 <= room else ""
    room -= len(value)
    for note in notes:
        if len(note) + 2 <= room:
            parts.append(Segment(f"{note} ", pens.muted))
            room -= len(note) + 1
    left, right = pens.corners[:2]
    fill = max(room, 0)
    return Strip([
        Segment(left, pens.frame), *parts, Segment(pens.horizontal * fill, pens.frame), Segment(value, pens.value),
        Segment(right, pens.frame),
    ]).crop(0, width)  # fmt: skip


def _bottom(plot: Plot, width: int, gutter: int, pens: _Pens) -> Strip:
    """The axis: its ends, and the markers between them."""
    inner = width - 2
    cells: list[tuple[str, Style]] = [(pens.horizontal, pens.frame)] * inner
    at = Across(plot.first_x, plot.last_x, inner - gutter)
    for marker in plot.markers:
        if plot.first_x <= marker <= plot.last_x:
            cells[gutter + min(at.column(marker) >> 1, inner - gutter - 1)] = (pens.glyphs.marker, pens.marker)
    if _scale(plot) is not None and len(plot.first_label) + len(plot.last_label) + 3 < inner - gutter:
        for place, label in ((gutter, plot.first_label), (inner - len(plot.last_label), plot.last_label)):
            for index, character in enumerate(label):
                cells[place + index] = (character, pens.muted)
    left, right = pens.corners[2:]
    parts = (Segment("".join(sign for sign, _ in same), style) for style, same in groupby(cells, itemgetter(1)))
    return Strip([Segment(left, pens.frame), *parts, Segment(right, pens.frame)], width)
