"""Keys in their order: each is answered before the next one is looked at, so that the next finds what this one opened."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from textual import events
from textual.screen import Screen
from textual.widgets import Input

from tui.feed.feed import Feed
from tui.keymap import Keymap
from tui.steering import SteeringApp

__all__ = ["TypingApp"]

_MAX_WAITS = 10
"""So often a key goes behind what the application itself was asked for; there may always be something."""
_LOOK_SECONDS, _MAX_LOOKS = 0.01, 50
"""So long a key waits for the screen, and the first frame of the run, that one before it opened."""
_QUIET_TURNS, _MAX_TURNS = 4, 100
"""Of the event loop: so many without a message on its way, and so many at most, are given to the answer of a key."""


class TypingApp(SteeringApp, inherit_bindings=False):
    """Has keys wait for what those before them have asked for."""

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self._typed: deque[events.InputEvent] = deque()
        """Keys, and what came behind them, that wait until what was asked for before them is done."""
        self._is_taking = False

    async def on_event(self, event: events.Event) -> None:
        """Do what a key means before the next one is looked at, so that the next finds what this one opened."""
        if not isinstance(event, events.InputEvent) or event.is_forwarded:
            await super().on_event(event)
        elif self._typed or self._is_taking or (isinstance(event, events.Key) and (self.message_queue_size or self.feed.is_opening)):
            self._typed.append(event)
            if not self._is_taking:
                self._go_on_typing()  # behind what the keys before have asked for
        else:
            await self._take_input(event)

    @property
    def is_idle(self) -> bool:
        """No key waits to be answered."""
        return not self._typed and not self._is_taking

    def type_again(self, keys: Sequence[events.Key]) -> None:
        """Take keys that came before all that wait, but were meant for what is only now there."""
        self._typed.extendleft(events.Key(key.key, key.character) for key in reversed(keys))
        self._go_on_typing()

    def _go_on_typing(self) -> None:
        if self._typed and not self._is_taking:
            self._is_taking = True
            self.call_later(self._take_typed)

    async def _take_typed(self, num_waited: int = 0, num_looks: int = 0) -> None:
        await self._let_answer()
        if (self.feed.is_opening or self._is_coming()) and num_looks < _MAX_LOOKS:
            self.set_timer(_LOOK_SECONDS, partial(self._take_typed, 0, num_looks + 1))
            return
        if self.message_queue_size and num_waited < _MAX_WAITS:
            self.call_later(self._take_typed, num_waited + 1, num_looks)
            return
        await self._take_input(self._typed.popleft())
        self._is_taking = False
        self._go_on_typing()

    async def _take_input(self, event: events.InputEvent) -> None:
        """Answer it; a field takes its keys itself."""
        if self._exit or not self.screen_stack:
            return  # typed behind the key that left
        if not isinstance(event, events.Key):
            await super().on_event(event)
            return
        if not (self._takes_keys(event) and await self._check_bindings(event.key)):
            await super().on_event(event)
        await self._let_answer()

    async def _let_answer(self) -> None:
        """Let the widgets that a key went through do what it means: they hand on by messages what they do not do themselves."""
        num_quiet = 0
        for _ in range(_MAX_TURNS):
            await asyncio.sleep(0)
            top = self._top()
            if top is None:
                return
            nodes = (top.focused or top).ancestors_with_self
            is_quiet = not any(node.message_queue_size for node in nodes if node is not self)
            num_quiet = num_quiet + 1 if is_quiet else 0
            if num_quiet == _QUIET_TURNS:
                return

    def _takes_keys(self, event: events.Key) -> bool:
        """Whether the key can be answered before the focused widget has seen it."""
        top = self._top()
        return top is not None and top.maximized is None and not event.is_forwarded and not isinstance(self.focused, Input)

    def _is_coming(self) -> bool:
        """Whether the screen that has the keys is not all there yet: nothing on it has the focus that something will get."""
        top = self._top()
        return top is not None and (not top.is_mounted or (top.focused is None and bool(top.focus_chain)))

    def _top(self) -> Screen[Any] | None:
        """The screen that has the keys; None before the first and after the last."""
        stack = self.screen_stack
        return stack[-1] if stack else None
