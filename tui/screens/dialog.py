"""A window over a screen, which answers once."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

__all__ = ["Dialog"]

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """A key too many, typed before the window has gone, closes nothing else: only the topmost window can be closed, once."""

    _is_answered = False

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        if self._is_answered or self.app.screen is not self:
            return AwaitComplete()
        self._is_answered = True
        return super().dismiss(result)
