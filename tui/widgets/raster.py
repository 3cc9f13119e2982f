"""Lines as braille dots: two dot columns and four dot rows in each cell, with the colour of the layer that won the cell.

A plot is filled from the back to the front: bands first, then lines. Heights are fractions, 0 at the lower edge and 1 at the upper one.
A dot column is one integer, whose bit 0 is its upper dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

__all__ = ["Dots", "Raster", "braille", "plain"]

_LEFT = (0x01, 0x02, 0x04, 0x40)
_RIGHT = (0x08, 0x10, 0x20, 0x80)
_LEFT_HALF, _RIGHT_HALF = sum(_LEFT), sum(_RIGHT)
_UPPER = 0x01 | 0x02 | 0x08 | 0x10
_LEFT_OF = tuple(sum(bit for place, bit in enumerate(_LEFT) if four >> place & 1) for four in range(16))
_RIGHT_OF = tuple(sum(bit for place, bit in enumerate(_RIGHT) if four >> place & 1) for four in range(16))
_BRAILLE = tuple(chr(0x2800 + mask) if mask else " " for mask in range(256))
_PLAIN = tuple(" " if not mask else "'" if not mask & ~_UPPER else "." if not mask & _UPPER else "|" for mask in range(256))

Cell = tuple[int, int]
"""Dots, and the layer that was drawn last in the cell."""


@frozen
class Dots:
    """One dot column of a line: from `low` to `high`, as fractions of the height."""

    column: int
    low: float
    high: float


class Raster:
    """`width` × `height` cells that hold dots."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._last_row = height * 4 - 1
        self._planes: list[tuple[int, bool, list[int]]] = []

    def draw_band(self, layer: int, dots: Iterable[Dots | None], dashes: Sequence[int] = (1,)) -> None:
        """Every column from its low to its high; neighbours whose ranges do not meet are joined, None breaks.

        `dashes` says over and over which cells' columns are drawn.
        """
        self._planes.append((layer, False, self._columns(dots, dashes)))

    def draw_line(self, layer: int, dots: Iterable[Dots | None], dashes: Sequence[int] = (1,)) -> None:
        """The same in front: where it passes, a cell's dot column holds the line alone, so that it can be told from a band."""
        self._planes.append((layer, True, self._columns(dots, dashes)))

    def rows(self) -> Iterator[list[Cell]]:
        """The cells of each row, from the top."""
        for y in range(self.height):
            row: list[Cell] = [(0, 0)] * self.width
            for layer, is_line, columns in self._planes:
                _put(row, [bits >> 4 * y & 15 for bits in columns], layer, is_line=is_line)
            yield row

    def _columns(self, dots: Iterable[Dots | None], dashes: Sequence[int]) -> list[int]:
        columns = [0] * (2 * self.width)
        last_row, last_column = self._last_row, 2 * self.width - 1
        before: tuple[int, int, int] | None = None
        for dot in dots:
            if dot is None:
                before = None
                continue
            column = dot.column
            if not 0 <= column <= last_column:
                continue
            low = last_row - round(min(max(dot.low, 0.0), 1.0) * last_row)
            high = last_row - round(min(max(dot.high, 0.0), 1.0) * last_row)
            columns[column] |= (2 << low - high) - 1 << high
            if before is not None and column > before[0]:
                _join(columns, before, (column, high, low))
            before = column, high, low
        if 0 in dashes:
            return [bits if dashes[(column >> 1) % len(dashes)] else 0 for column, bits in enumerate(columns)]
        return columns


def braille(mask: int) -> str:
    """The dots as one character."""
    return _BRAILLE[mask]


def plain(mask: int) -> str:
    """The dots as one ASCII character: upper half, lower half, or both."""
    return _PLAIN[mask]


def _put(row: list[Cell], fours: list[int], layer: int, *, is_line: bool) -> None:
    """Draw four dot rows over the cells of a row."""
    for x in range(len(row)):
        left, right = fours[2 * x], fours[2 * x + 1]
        if left or right:
            mask = row[x][0]
            if is_line and left:
                mask &= _RIGHT_HALF
            if is_line and right:
                mask &= _LEFT_HALF
            row[x] = mask | _LEFT_OF[left] | _RIGHT_OF[right], layer


def _join(columns: list[int], before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    """A straight line between the nearest ends of two columns' ranges (column, upper row, lower row), if they do not meet."""
    (column, high, low), (next_column, next_high, next_low) = before, after
    start, end = (low, next_high) if low < next_high else (high, next_low) if next_low < high else (max(high, next_high),) * 2
    gap = next_column - column
    if gap == 1 and abs(end - start) <= 1:
        return
    for step in range(gap + 1):
        # each column takes the half of the way to its neighbours that is its own
        first = start + round((end - start) * max(step - 0.5, 0) / gap)
        last = start + round((end - start) * min(step + 0.5, gap) / gap)
        upper, lower = (first, last) if first <= last else (last, first)
        columns[column + step] |= (2 << lower - upper) - 1 << upper
