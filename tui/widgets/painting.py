"""Lines of coloured text as Textual draws them: each piece names its colour by what it says, not by its shade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color
from textual.strip import Strip
from textual.style import Style

from tui.themes import ASCII, Glyphs, Palette

__all__ = ["Pieces", "cut", "fitted", "merged", "paint", "spelled", "width_of", "wrapped"]

Pieces = Sequence[tuple[str, str]]
"""Texts, each with the field of `Palette` that colours it: `good`, or `bold good`, or `underline bad`; `series.2` is the third line's."""


_SIGNS = str.maketrans({"≥": ">=", "≤": "<=", "×": "x", "−": "-", "–": "-", "…": "~", "·": "|", "▌": "|"})


def spelled(pieces: Pieces, glyphs: Glyphs) -> Pieces:
    """The pieces with the signs of our own sentences spelled in ASCII, where the glyphs are."""
    return [(text.translate(_SIGNS), tone) for text, tone in pieces] if glyphs == ASCII else pieces


def merged(pieces: Pieces) -> Pieces:
    """The same with neighbours of one colour in one piece, which is drawn in a fraction of the time."""
    return [("".join(text for text, _ in same), tone) for tone, same in groupby(pieces, itemgetter(1))]


def width_of(pieces: Pieces) -> int:
    """Cells that the pieces take."""
    return sum(cell_len(text) for text, _ in pieces)


def paint(pieces: Pieces, *, width: int, palette: Palette, background: str = "background") -> Strip:
    """A line of exactly `width` cells; what does not fit is left out."""
    segments = [Segment(text, _style(palette, tone, background)) for text, tone in (*cut(pieces, width), (" " * width, "text")) if text]
    return Strip(segments).crop(0, width)


def fitted(pieces: Pieces, width: int, *, is_right: bool = False, ellipsis: str = "…") -> Pieces:
    """The pieces in exactly `width` cells: filled up with spaces, or cut with an ellipsis."""
    room = width - width_of(pieces)
    if room < 0:
        kept = cut(pieces, max(width - 1, 0))
        tone = pieces[-1][1] if pieces else "text"
        pieces = (*kept, (ellipsis if width > 0 else "", tone))
        room = width - width_of(pieces)
    fill = ((" " * room, "text"),) if room > 0 else ()
    return (*fill, *pieces) if is_right else (*pieces, *fill)


def cut(pieces: Pieces, width: int) -> Pieces:
    """As much as fits into `width` cells."""
    kept: list[tuple[str, str]] = []
    for text, tone in pieces:
        size = cell_len(text)
        if size > width:
            if width > 0:
                kept.append((set_cell_size(text, width), tone))
            return kept
        kept.append((text, tone))
        width -= size
    return kept


def wrapped(pieces: Pieces, width: int) -> list[Pieces]:
    """The pieces as lines of at most `width` cells, broken after a space where there is one; leading spaces stay."""
    lines: list[Pieces] = []
    line: list[tuple[str, str]] = []
    used = 0
    for word, tone in _words(pieces, max(width, 1)):
        size = cell_len(word)
        if used + cell_len(word.rstrip(" ")) > width and line:
            lines.append(line)
            line, used = [], 0
        line.append((word, tone))
        used += size
    return [*lines, line]


def _words(pieces: Pieces, width: int) -> Iterable[tuple[str, str]]:
    """Runs of text with the spaces after them; what is wider than a line, in parts."""
    for text, tone in pieces:
        start = 0
        while start < len(text):
            end = text.find(" ", start)
            end = len(text) if end < 0 else end + 1
            while end < len(text) and text[end] == " ":
                end += 1
            word = text[start:end]
            for part in chop_cells(word, width) if cell_len(word) > width else (word,):
                yield part, tone
            start = end


@lru_cache(maxsize=1024)
def _style(palette: Palette, tone: str, background: str) -> RichStyle:
    *attributes, colour = tone.split(" ")
    return Style(
        background=Color.parse(getattr(palette, background)),
        foreground=Color.parse(_colour(palette, colour)),
        bold="bold" in attributes,
        underline="underline" in attributes,
        strike="strike" in attributes,
    ).rich_style


def _colour(palette: Palette, name: str) -> str:
    field, _, number = name.partition(".")
    if number:
        return palette.series[int(number) % len(palette.series)]
    colour: str = getattr(palette, field)
    return colour
