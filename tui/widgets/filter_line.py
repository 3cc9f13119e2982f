"""One line to type a filter or a command into; it takes no room until it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

__all__ = ["FilterLine"]


class FilterLine(Input):
    """Posts what is typed at every key; Enter keeps it, Escape clears it, and both give the focus back."""

    DEFAULT_CSS = """
    FilterLine { height: 1; border: none; padding: 0 1; background: $kd-panel; color: $kd-text; display: none; }
    FilterLine:focus { border: none; background: $kd-selection; }
    FilterLine.-open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_and_close", show=False)]

    @dataclass
    class Typed(Message):
        """The text is now this; `is_final` after Enter or Escape."""

        line: FilterLine
        text: str
        is_final: bool

        @property
        def control(self) -> FilterLine:
            return self.line

    def __init__(self, *, placeholder: str, id: str | None = None) -> None:
        super().__init__(placeholder=placeholder, id=id, select_on_focus=False)
        self.cursor_blink = False

    def allow_focus(self) -> bool:
        """Not before it is called: a new screen gives the focus to the first that takes it."""
        return super().allow_focus() and self.has_class("-open")

    def call(self) -> None:
        """Show the line and type into it."""
        self.add_class("-open")
        self.screen.set_focus(self)  # at once: what is typed next is meant for it

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(self, event.value, is_final=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()

    def action_clear_and_close(self) -> None:
        self.value = ""
        self._close()

    def on_blur(self, event: events.Blur) -> None:
        self.set_class(bool(self.value), "-open")

    def _close(self) -> None:
        self.post_message(self.Typed(self, self.value, is_final=True))
        self.set_class(bool(self.value), "-open")
        if self.has_focus:
            self.screen.focus_previous()
