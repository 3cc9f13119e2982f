"""Foreign text made safe to draw: what would be obeyed by a terminal is shown instead.

C0 controls and DEL become control pictures (␛ ␍), C1, line and paragraph separators, other format characters, surrogates, private and
unassigned characters become `⟨U+202E⟩`; U+200C and U+200D stay; a tab is four spaces; bytes that are no UTF-8 become U+FFFD.
Made safe twice is the same as once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import NewType, TypeVar

__all__ = ["MAX_CELLS", "SafeText", "cell_width", "is_drawable", "safe_lines", "safe_text"]

SafeText = NewType("SafeText", str)
"""Text that a widget may draw; only this module makes it."""

MAX_CELLS = 2000
_MAX_COMBINING = 8
_JOINERS = "\u200c\u200d"
_ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

_MAX_REMEMBERED = 4096
K = TypeVar("K")
V = TypeVar("V")


class _Remembered(dict[K, V]):
    """Facts about characters, found out when they are first met; no text can make it grow without end."""

    def __init__(self, find: Callable[[K], V]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: K) -> V:
        found = self._find(key)
        if len(self) < _MAX_REMEMBERED:
            self[key] = found
        return found


def safe_text(text: str | bytes, *, max_cells: int = MAX_CELLS) -> SafeText:
    """`text` on one line of at most `max_cells` cells; what is cut off is marked by `…`."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if len(text) <= max_cells and text.isascii() and text.isprintable():
        return SafeText(text)
    limit = max_cells * (_MAX_COMBINING + 1)
    shown = text[:limit].translate(_REPLACEMENTS)
    if not shown.isascii():
        shown = _without_heaps(shown)
    if len(text) <= limit and cell_width(shown) <= max_cells:
        return SafeText(shown)
    return SafeText(_cut(shown, max_cells - 1) + "…")


def safe_lines(text: str | bytes, *, max_cells: int = MAX_CELLS) -> tuple[SafeText, ...]:
    """The lines of `text`, each safe; only a line feed ends a line."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return tuple(safe_text(line, max_cells=max_cells) for line in text.removesuffix("\n").split("\n"))


def is_drawable(character: str) -> bool:
    """Whether a terminal draws `character` rather than obeying it, and people can tell it from others."""
    return character in _JOINERS or unicodedata.category(character) not in _ESCAPED


def cell_width(text: str) -> int:
    """Cells that `text` takes in a terminal: two for wide characters, none for marks and joiners."""
    return len(text) if text.isascii() else sum(map(_WIDTHS.__getitem__, text))


def _replacement(code: int) -> str:
    character = chr(code)
    if character == "\t":
        return "    "
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == "\x7f":
        return "␡"
    return character if is_drawable(character) else f"⟨U+{code:04X}⟩"


def _without_heaps(text: str) -> str:
    """`text` with at most eight combining marks in a row."""
    if sum(map(_IS_MARK.__getitem__, text)) <= _MAX_COMBINING:
        return text
    kept = []
    num_marks = 0
    for character in text:
        num_marks = num_marks + 1 if _IS_MARK[character] else 0
        if num_marks <= _MAX_COMBINING:
            kept.append(character)
    return "".join(kept)


def _cut(text: str, max_cells: int) -> str:
    """As much of `text` as `max_cells` cells hold."""
    num_cells = 0
    for index, character in enumerate(text):
        num_cells += _WIDTHS[character]
        if num_cells > max_cells:
            return text[:index]
    return text


def _is_mark(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) in {"Mn", "Me", "Mc"}


def _width(character: str) -> int:
    if character in _JOINERS or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


_REPLACEMENTS = _Remembered(_replacement)
_IS_MARK = _Remembered(_is_mark)
_WIDTHS = _Remembered(_width)
