"""One of several; Space or an arrow takes the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from kd.views.safe_text import safe_text
from tui.themes import glyphs_of, palette_of
from tui.widgets.painting import fitted, paint, spelled

__all__ = ["Options"]

_LABEL_CELLS = 9


class Options(Widget, can_focus=True):
    """A label, the option that is chosen, and how many there are."""

    DEFAULT_CSS = "Options { height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right", "change(1)", show=False),
        Binding("left", "change(-1)", show=False),
        Binding("enter", "go_on", show=False),
    ]

    @dataclass
    class Changed(Message):
        """Another one was taken."""

        options: Options
        index: int

        @property
        def control(self) -> Options:
            return self.options

    index: reactive[int] = reactive(0)

    def __init__(self, label: str, options: Sequence[tuple[str, str]], *, id: str) -> None:
        """Each option is a word and what is to be said about it."""
        super().__init__(id=id)
        self._label = label
        self._options = tuple(options)

    @property
    def value(self) -> str:
        """The word that is chosen."""
        return self._options[self.index][0]

    def action_change(self, by: int) -> None:
        self.index = (self.index + by) % len(self._options)
        self.post_message(self.Changed(self, self.index))

    def action_go_on(self) -> None:
        """Enter goes to the next field, as it does in fields that are typed into."""
        self.screen.focus_next()

    def on_click(self) -> None:
        self.action_change(1)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        word, about = self._options[self.index]
        glyphs = glyphs_of(self.app)
        count = f"  ({self.index + 1} of {len(self._options)}, Space: next)" if self.has_focus and len(self._options) > 1 else ""
        pieces = (
            (self._label.ljust(_LABEL_CELLS), "muted"),
            (safe_text(word), "bold accent" if self.has_focus else "text"),
            (count, "muted"),
            (f"  {safe_text(about)}" if about else "", "muted"),
        )
        width = self.size.width
        return paint(fitted(spelled(pieces, glyphs), width, ellipsis=glyphs.ellipsis), width=width, palette=palette_of(self.app))
