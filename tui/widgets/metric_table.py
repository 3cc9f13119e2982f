"""Figures by name; opening one shows it unrounded, with unit, formula and the record it comes from."""

from __future__ import annotations

import textwrap
from typing import Literal

from attrs import evolve as replace
from attrs import frozen
from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.widget import Widget

from tui.themes import Palette, glyphs_of, palette_of

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

    def render(self) -> Text:
        palette, state = palette_of(self.app), self.state
        detail = self._detail(palette) if state.is_open and self.has_focus else []
        room = max(self.size.height - len(detail), 1)
        first = self._first(room)
        shown = state.figures[first : first + room]
        lines = [self._line(figure, palette, is_chosen=self.has_focus and first + at == state.chosen) for at, figure in enumerate(shown)]
        if detail:
            lines += [Text()] * (room - len(lines)) + detail
        return Text("\n", no_wrap=True, overflow="crop").join(lines)

    def _choose(self, row: int) -> None:
        self.state = replace(self.state, chosen=min(max(row, 0), max(len(self.state.figures) - 1, 0)))

    def _first(self, room: int | None = None) -> int:
        """The first figure that is visible: the chosen one always is."""
        return max(0, min(self.state.chosen, len(self.state.figures) - 1) - (room or self.size.height) + 1)

    def _line(self, figure: Figure, palette: Palette, *, is_chosen: bool) -> Text:
        width = self.size.width
        value = Text(figure.value, style=_colour(figure.tone, palette))
        value.truncate(max(width - 4, 0), overflow="ellipsis")
        label = Text(figure.label, style=palette.muted)
        label.truncate(max(width - value.cell_len - 1, 0), overflow="ellipsis")
        line = label + Text(" " * max(width - label.cell_len - value.cell_len, 1)) + value
        if is_chosen:
            line.stylize(f"on {palette.selection}")
        return line

    def _detail(self, palette: Palette) -> list[Text]:
        figure, width = self.state.at, self.size.width
        if figure is None or width < 8:
            return []
        lines = [Text("─" * width if glyphs_of(self.app).dash != "-" else "-" * width, style=palette.muted)]
        lines += [Text(line, style=f"bold {palette.text}") for line in textwrap.wrap(figure.exact or figure.value, width)]
        lines += [Text(line, style=palette.muted) for line in textwrap.wrap(figure.formula, width)]
        if figure.position is not None:
            lines.append(Text(f"@{figure.position:,}", style=palette.accent) + Text("  o opens it", style=palette.muted))
        return lines


def _colour(tone: Tone, palette: Palette) -> str:
    colour: str = getattr(palette, tone)
    return colour
