"""The last word on what a terminal without Unicode gets: every line in ASCII, as wide as it was."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from kd.views.safe_text import cell_width

__all__ = ["AsciiFilter"]

_LOOKS = {
    "-": "─━┄┈╌—▁▂▔\u2013\u2212",
    "|": "│┃┊┆▏▎▍▌▐▕‖",
    "+": "┌┐└┘├┤┬┴┼╭╮╯╰✓",
    "#": "█▇▆▅▄▃▀■◈",
    ".": "·░",
    "*": "●•◆▪",
    "o": "○◇",
    "x": "✗×",
    ">": "▸▶→",
    "^": "▲↑",
    "~": "…≈",
    "=": "≥≤",
}
_ASCII = {ord(sign): plain for plain, signs in _LOOKS.items() for sign in signs}


class _Table(dict[int, str]):
    """What `str.translate` puts in the place of a character; what has no likeness is a question mark a cell."""

    def __missing__(self, code: int) -> str:
        plain = self[code] = chr(code) if code < 128 else "?" * cell_width(chr(code))
        return plain


_TABLE = _Table(_ASCII)


class AsciiFilter(LineFilter):
    """Draws likenesses in ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [part if part.text.isascii() else Segment(part.text.translate(_TABLE), part.style, part.control) for part in segments]
