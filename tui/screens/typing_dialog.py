"""A dialog that is typed into: what is typed while it opens comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar, cast

from textual import events

from tui.screens.dialog import Dialog

__all__ = ["TypingDialog"]

Answer = TypeVar("Answer")
_LEAVING = frozenset({"enter", "escape", "tab"})
"""Keys behind these are for whatever has the focus then."""


class _TakesKeys(Protocol):
    """The application, as far as it is known here."""

    def type_again(self, keys: Sequence[events.Key]) -> None: ...


class TypingDialog(Dialog[Answer]):
    """Keeps keys until its first field has the focus, and then hands them to it in their order."""

    AUTO_FOCUS: ClassVar[str | None] = ""
    FIRST: ClassVar[str] = "Input"
    """Selects what has the focus first."""

    def __init__(self) -> None:
        super().__init__()
        self._early: list[events.Key] | None = []
        """None once the field takes keys itself."""

    def on_mount(self) -> None:
        self.call_later(self._open)

    def on_key(self, event: events.Key) -> None:
        if self._early is not None:
            self._early.append(event)

    def _open(self) -> None:
        """Give the focus away once no key waits here: later ones would overtake it."""
        if self.message_queue_size:
            self.call_later(self._open)
            return
        field = self.query(self.FIRST).first()
        self.set_focus(field)
        early, self._early = self._early or [], None
        num_own = next((number for number, event in enumerate(early, 1) if event.key in _LEAVING), len(early))
        for event in early[:num_own]:
            field.post_message(event)
        if num_own < len(early):
            cast("_TakesKeys", self.app).type_again(early[num_own:])
