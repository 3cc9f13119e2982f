"""A window with lines of text, such as alerts or the findings of an examination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui.screens.dialog import Dialog
from tui.themes import Glyphs
from tui.widgets.painting import Pieces
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["TextList"]


class TextList(Dialog[int | None]):
    """Answers with the index of the line that was opened."""

    DEFAULT_CSS = """
    TextList > Vertical { width: 110; max-width: 96%; height: 70%; border: round $kd-accent; background: $kd-background; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", show=False),
        Binding("j,down", "lines('do_down')", show=False),
        Binding("k,up", "lines('do_up')", show=False),
        Binding("g,home", "lines('do_top')", show=False),
        Binding("G,end", "lines('do_bottom')", show=False),
        Binding("pagedown,space", "lines('do_page_down')", show=False),
        Binding("pageup", "lines('do_page_up')", show=False),
        Binding("enter", "lines('do_open')", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Pieces]) -> None:
        super().__init__()
        self._title = title
        self._lines = _Source(lines)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = self._title
            yield VirtualLines(self._lines)

    def on_mount(self) -> None:
        self.query_one(VirtualLines).focus()

    def show(self, lines: Sequence[Pieces]) -> None:
        """Show these lines instead."""
        self._lines.lines = lines
        if self.is_mounted:
            self.query_one(VirtualLines).update()

    def on_virtual_lines_opened(self, message: VirtualLines.Opened) -> None:
        self.dismiss(message.index)

    def action_lines(self, name: str) -> None:
        """Move, or open the chosen line."""
        getattr(self.query_one(VirtualLines), name)()


class _Source:
    def __init__(self, lines: Sequence[Pieces]) -> None:
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        return self.lines[index]
