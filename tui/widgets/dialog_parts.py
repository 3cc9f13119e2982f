"""What dialogs are made of: words in as many lines as they need, a choice of two, a field with its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from tui.themes import glyphs_of, palette_of
from tui.widgets.painting import Pieces, paint, wrapped

__all__ = ["LINE_END", "Choice", "Field", "Lines", "labelled"]

LINE_END = ("\n", "text")
_LABEL_CELLS = 9


class Lines(Widget):
    """Words in as many lines as they need; a piece that is `LINE_END` ends one."""

    DEFAULT_CSS = "Lines { height: auto; }"

    pieces: reactive[Pieces] = reactive((), layout=True)

    def __init__(self, pieces: Pieces = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(Lines.pieces, pieces)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._wrapped(width))

    def render_line(self, y: int) -> Strip:
        lines = self._wrapped(self.size.width)
        return paint(lines[y] if y < len(lines) else (), width=self.size.width, palette=palette_of(self.app))

    def _wrapped(self, width: int) -> list[Pieces]:
        parts: list[list[tuple[str, str]]] = [[]]
        for piece in self.pieces:
            if piece == LINE_END:
                parts.append([])
            else:
                parts[-1].append(piece)
        return [line for part in parts for line in (wrapped(part, max(width, 1)) if part else [()])]


class Choice(Widget, can_focus=True):
    """One of two; Space takes the other."""

    DEFAULT_CSS = "Choice { height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,left,right", "change", show=False)]

    @dataclass
    class Changed(Message):
        """The other one was taken."""

        is_second: bool

    is_second: reactive[bool] = reactive(False)

    def __init__(self, label: str, first: str, second: str) -> None:
        super().__init__()
        self._label = label
        self._options = (first, second)

    def action_change(self) -> None:
        self.is_second = not self.is_second
        self.post_message(self.Changed(self.is_second))

    def on_click(self) -> None:
        self.action_change()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        dot = "*" if glyphs_of(self.app).dash == "-" else "•"
        tone = "bold accent" if self.has_focus else "text"
        pieces: list[tuple[str, str]] = [(self._label.ljust(_LABEL_CELLS), "muted")]
        for option, is_it in zip(self._options, (not self.is_second, self.is_second)):
            pieces.append((f"({dot if is_it else ' '}) {option}   ", tone if is_it else "muted"))
        return paint(pieces, width=self.size.width, palette=palette_of(self.app))


class Field(Horizontal):
    """A label and a line to type into."""

    DEFAULT_CSS = "Field { height: 1; } Field Lines { width: 9; } Field Input { width: 1fr; }"

    def __init__(self, label: str, placeholder: str, *, id: str) -> None:
        super().__init__()
        self._label = label
        self._input = Input(placeholder=placeholder, id=id, select_on_focus=False)
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        yield Lines(((self._label, "muted"),))
        yield self._input


def labelled(label: str, text: str) -> Pieces:
    """A fact in the column of the fields."""
    return ((label.ljust(_LABEL_CELLS), "muted"), (text, "text"))
