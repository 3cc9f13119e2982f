"""Figures by name; opening one shows it unrounded, with unit, formula and the record it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import evolve as replace
from attrs import frozen
from textual import events
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.themes import glyphs_of, palette_of
from tui.widgets.painting import Pieces, fitted, paint, width_of, wrapped

__all__ = ["Figure", "Figures", "MetricTable", "Tone"]

Tone = Literal["text", "muted", "good", "warn", "bad", "accent"]


@frozen(kw_only=True)
class Figure:
    """One number, or why there is none."""

    label: str
    value: str
    tone: Tone = "text"
    exact: str = ""
    """Unrounded, with its unit."""
    formula: str = ""
    """How it follows from records, or why it is absent."""
    position: int | None = None
    """The record it comes from."""


@frozen(kw_only=True)
class Figures:
    """What a table shows."""

    figures: tuple[Figure, ...] = ()
    chosen: int = 0
    is_open: bool = False
    """The chosen figure is shown in full below the others."""

    @property
    def at(self) -> Figure | None:
        """The chosen figure."""
        return self.figures[min(self.chosen, len(self.figures) - 1)] if self.figures else None


class MetricTable(Widget, can_focus=True):
    """Labels to the left, values to the right."""

    DEFAULT_CSS = "MetricTable { color: $kd-text; background: $kd-background; }"

    state: reactive[Figures] = reactive(Figures())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []

    def give(self, *figures: Figure) -> None:
        """Show these; the choice stays."""
        self.state = replace(self.state, figures=figures)

    @property
    def position(self) -> int | None:
        """The record behind the chosen figure."""
        return self.state.at.position if self.state.at is not None else None

    def do_down(self) -> None:
        self._choose(self.state.chosen + 1)

    def do_up(self) -> None:
        self._choose(self.state.chosen - 1)

    def do_top(self) -> None:
        self._choose(0)

    def do_bottom(self) -> None:
        self._choose(len(self.state.figures) - 1)

    def do_open(self) -> None:
        self.state = replace(self.state, is_open=not self.state.is_open)

    def on_click(self, event: events.Click) -> None:
        row = self._first() + event.y
        if row < len(self.state.figures):
            self.state = replace(self.state, chosen=row, is_open=True)

    def watch_state(self) -> None:
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        self._redraw()

    def on_focus(self) -> None:
        self._redraw()

    def on_blur(self) -> None:
        self._redraw()

    def notify_style_update(self) -> None:
        self._strips = []
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        if not self._strips:
            self._strips = list(self._drawn())
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def _redraw(self) -> None:
        self._strips = []
        self.refresh()

    def _drawn(self) -> Iterator[Strip]:
        """The figures, and below them the chosen one in full."""
        state, (width, height) = self.state, self.size
        palette, ellipsis = palette_of(self.app), glyphs_of(self.app).ellipsis
        detail = self._detail(width) if state.is_open and self.has_focus else []
        room = max(height - len(detail), 1)
        first = self._first(room)
        for row in range(first, first + room):
            pieces = _line(state.figures[row], width, ellipsis) if row < len(state.figures) else ()
            is_chosen = self.has_focus and row == state.chosen and bool(pieces)
            yield paint(pieces, width=width, palette=palette, background="selection" if is_chosen else "background")
        for pieces in detail:
            yield paint(pieces, width=width, palette=palette)

    def _choose(self, row: int) -> None:
        self.state = replace(self.state, chosen=min(max(row, 0), max(len(self.state.figures) - 1, 0)))

    def _first(self, room: int | None = None) -> int:
        """The first figure that is visible: the chosen one always is."""
        return max(0, min(self.state.chosen, len(self.state.figures) - 1) - (room or self.size.height) + 1)

    def _detail(self, width: int) -> list[Pieces]:
        figure = self.state.at
        if figure is None or width < 8:
            return []
        lines: list[Pieces] = [(("─" * width if glyphs_of(self.app).dash != "-" else "-" * width, "muted"),)]
        lines += wrapped(((figure.exact or figure.value, "bold text"),), width)
        lines += wrapped(((figure.formula, "muted"),), width) if figure.formula else []
        if figure.position is not None:
            lines.append(((f"@{figure.position:,}", "accent"), ("  o opens it", "muted")))
        return lines


def _line(figure: Figure, width: int, ellipsis: str) -> Pieces:
    """The label to the left, the value to the right; the label gives way first."""
    value = _at_most(figure.value, figure.tone, max(width - 4, 0), ellipsis)
    label = fitted(((figure.label, "muted"),), max(width - width_of(value) - 1, 0), ellipsis=ellipsis)
    return (*label, (" ", "text"), *value)


def _at_most(text: str, tone: Tone, width: int, ellipsis: str) -> Pieces:
    pieces = ((text, tone),)
    return pieces if width_of(pieces) <= width else fitted(pieces, width, ellipsis=ellipsis)
