"""There is no ledger yet: where it was looked for, and how one comes to be. The screen gives way as soon as there is one."""

from __future__ import annotations

import os
from typing import ClassVar

from textual.app import ComposeResult

from tui.feed.frame import Frame
from tui.screens.kd_screen import KdScreen
from tui.widgets.dialog_parts import Lines

__all__ = ["FirstRunScreen"]

_START = "kd run configs/quickstart.yaml --detach"
_WAYS = (
    ("try it", "tools/quickstart", "5 minutes, 2 cores, no GPU"),
    ("your own", _START, ""),
    ("elsewhere", "kd tui --ledger DIR", ""),
)


class FirstRunScreen(KdScreen):
    """Waits for a ledger."""

    number = 0
    title_word = "no ledger"
    needs_run = False
    footer = ("copy_command",)
    DEFAULT_CSS: ClassVar[str] = "FirstRunScreen Lines { margin: 1 3 0 3; }"

    def compose_body(self) -> ComposeResult:
        named = str(self.feed.ledger)
        variable = os.environ.get("KD_LEDGER")
        yield Lines((("There is no ledger here yet.", "text"),))
        yield Lines((("Looked at: ", "muted"), (f"{named} (missing); $KD_LEDGER is {variable or 'not set'}.", "text")))
        for label, command, note in _WAYS:
            shown = self._start if command == _START else command
            yield Lines(((f"{label:<12}", "muted"), (f"{shown:<44}", "accent"), (note, "muted")))
        yield Lines((("This screen waits: it opens the ledger as soon as one appears.", "muted"),))

    def show(self, frame: Frame) -> None:
        """Nothing here changes."""

    def do_copy_command(self) -> None:
        self.app.copy_to_clipboard(self._start)
        self.notify(f"Copied: {self._start}", markup=False)

    @property
    def _start(self) -> str:
        return f"{_START} {self.feed.ledger_options}".rstrip()
