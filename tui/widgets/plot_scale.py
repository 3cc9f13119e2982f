"""From values to places on a plot: dot columns across, fractions of the height, and the dots of a line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import frozen

from tui.widgets.raster import Dots

__all__ = ["Across", "Column", "Scale", "dot_of", "dots_of"]


@frozen
class Column:
    """A part of the horizontal axis, one dot column wide or one point."""

    x: float
    low: float
    """Smallest and largest value that can be drawn; NaN if there is none."""
    high: float
    num_crosses: int = 0
    """Values that cannot be drawn."""


class Across:
    """From the horizontal axis to dot columns."""

    def __init__(self, first_x: float, last_x: float, width: int) -> None:
        self.first = first_x
        self.factor = (2 * width - 1) / (last_x - first_x) if last_x > first_x else 0.0

    def column(self, x: float) -> int:
        """The dot column of a place on the axis."""
        return round((x - self.first) * self.factor)


@frozen
class Scale:
    """From values to fractions of the height."""

    low: float
    high: float
    is_log: bool

    @classmethod
    def of(cls, columns: Iterable[Column], *, is_log: bool) -> Scale | None:
        """The scale that holds all that is visible; None if nothing is."""
        shown = [column for column in columns if column.low == column.low]
        if not shown:
            return None
        low, high = min(column.low for column in shown), max(column.high for column in shown)
        if is_log:
            low, high = math.log10(low), math.log10(high)
        if low == high:
            room = 0.5 if is_log or not low else abs(low) / 10
            low, high = low - room, high + room
        return cls(low, high, is_log)

    def fraction(self, value: float) -> float:
        """How high a value is, from 0 to 1; what has no logarithm is at the lower edge."""
        if self.is_log:
            if value <= 0:
                return 0.0
            value = math.log10(value)
        return (value - self.low) / (self.high - self.low)


def dot_of(column: int, scale: Scale, y: float) -> Dots | None:
    """One point of a line; None where it has no height."""
    if not math.isfinite(y) or (scale.is_log and y <= 0):
        return None
    fraction = scale.fraction(y)
    return Dots(column, fraction, fraction)


def dots_of(columns: Sequence[Column], at: Across, scale: Scale, height: int) -> list[Dots | None]:
    """The columns of a line, those that fall on one dot column merged; None where it breaks, which is at every cross.

    A single point is drawn large enough to be seen on a plot of `height` lines.
    """
    dots: list[Dots | None] = []
    for column in columns:
        if column.num_crosses:
            dots.append(None)
        if column.low == column.low:
            x, low, high = at.column(column.x), scale.fraction(column.low), scale.fraction(column.high)
            held = dots[-1] if dots else None
            if held is not None and held.column == x:
                dots[-1] = Dots(x, min(held.low, low), max(held.high, high))
            else:
                dots.append(Dots(x, low, high))
        if column.num_crosses:
            dots.append(None)
    return _grown(dots, 1 / (4 * height))


def _grown(dots: list[Dots | None], step: float) -> list[Dots | None]:
    """A point that has no neighbour is drawn large enough to be seen."""
    if sum(dot is not None for dot in dots) != 1:
        return dots
    dot = next(dot for dot in dots if dot is not None)
    return [Dots(column, dot.low - step, dot.high + step) for column in (dot.column & ~1, dot.column | 1)]
