"""A line for commands at the foot of the screen; Tab or the right arrow takes the completion that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.suggester import SuggestFromList
from textual.widgets import Input

from tui.screens.typing_dialog import TypingDialog

__all__ = ["CommandLine"]


class CommandLine(TypingDialog[str | None]):
    """Answers with what was typed."""

    DEFAULT_CSS = """
    CommandLine { align: left bottom; background: transparent; }
    CommandLine Input { width: 100%; height: 1; background: $kd-selection; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("tab", "complete", show=False, priority=True),
    ]

    def __init__(self, completions: Iterable[str], *, text: str = "") -> None:
        super().__init__()
        self._completions = sorted(completions)
        self._first = text

    def compose(self) -> ComposeResult:
        line = Input(self._first, placeholder=": command", suggester=SuggestFromList(self._completions), select_on_focus=False)
        line.cursor_blink = False
        yield line

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)

    def action_complete(self) -> None:
        """Take the completion that is shown."""
        self.query_one(Input).action_cursor_right()
