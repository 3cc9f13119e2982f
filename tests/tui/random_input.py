"""Keys, clicks, drags, wheels and sizes at random, as a terminal would send them; the same ones for the same seed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from textual import events
from textual.app import ScreenStackError
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Size
from textual.keys import _character_to_key
from textual.message import Message
from textual.pilot import Pilot

from tui.app import KdApp
from tui.keymap import KEYS

__all__ = ["RandomInput"]

_OWN_KEYS = tuple(key for row in KEYS if row.id not in {"leave", "interrupt"} for key in row.keys)
_OTHER_KEYS = (*"wfQZ .*:x3", "backspace", "delete", "left", "right", "ctrl+a", "ctrl+k", "ctrl+u", "f5", "ctrl+z", "shift+end", "é", "漢")
_LEAST, _MOST = Size(1, 1), Size(220, 64)
_MAX_BURST = 12


_PATIENCE_SECONDS = 20.0


class RandomInput:
    """What hands may do to `app`, but leaving it and, unless `keys` says so, starting processes."""

    def __init__(self, app: KdApp, pilot: Pilot[int], seed: int, *, keys: Sequence[str] = _OWN_KEYS) -> None:
        self._app = app
        self._pilot = pilot
        self._choose = random.Random(seed)
        self._keys = (*keys, *_OTHER_KEYS)
        self.last: list[str] = []
        """The newest inputs, for the report of a failure."""

    async def give(self, number: int) -> int:
        """Send `number` inputs in bursts, and let each burst be worked off; how many were left when the application was left."""
        app = self._app
        while number > 0 and app.is_running and not app._exit:
            size = min(self._choose.randint(1, _MAX_BURST), number)
            for _ in range(size):
                for event in self._input():
                    driver = app._driver
                    assert driver is not None
                    driver.process_message(event)
            number -= size
            with suppress(ScreenStackError):  # help offers to leave, too
                await self._pilot.pause(0)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while app.is_running and not app._exit and not app.is_idle:
                assert time.monotonic() < deadline, f"no answer to {self.last[-_MAX_BURST:]}"
                await asyncio.sleep(0.001)
        return number

    def _input(self) -> Iterator[Message]:
        kinds: tuple[tuple[int, Callable[[], Iterator[Message]]], ...] = (
            (84, self._key),
            (9, self._click),
            (3, self._drag),
            (2, self._wheel),
            (2, self._resize),
        )
        (kind,) = self._choose.choices([kind for _, kind in kinds], weights=[weight for weight, _ in kinds])
        yield from kind()

    def _key(self) -> Iterator[Message]:
        key = self._choose.choice(self._keys)
        self._note(key)
        is_character = len(key) == 1
        yield events.Key(_character_to_key(key) if is_character else key, key if is_character else " " if key == "space" else None)

    def _click(self) -> Iterator[Message]:
        x, y = self._place()
        self._note(f"click {x},{y}")
        for _ in range(self._choose.choice((1, 1, 2))):
            yield _mouse(events.MouseDown, x, y)
            yield _mouse(events.MouseUp, x, y)

    def _drag(self) -> Iterator[Message]:
        (x, y), (to_x, to_y) = self._place(), self._place()
        self._note(f"drag {x},{y} to {to_x},{to_y}")
        yield _mouse(events.MouseDown, x, y)
        for share in (0.5, 1.0):
            yield _mouse(events.MouseMove, round(x + share * (to_x - x)), round(y + share * (to_y - y)))
        yield _mouse(events.MouseUp, to_x, to_y)

    def _wheel(self) -> Iterator[Message]:
        x, y = self._place()
        cls = self._choose.choice((events.MouseScrollUp, events.MouseScrollDown))
        self._note(f"{cls.__name__} {x},{y}")
        yield _mouse(cls, x, y, button=0)

    def _resize(self) -> Iterator[Message]:
        columns, rows = self._choose.randint(_LEAST.width, _MOST.width), self._choose.randint(_LEAST.height, _MOST.height)
        if self._choose.random() < 0.5:
            columns, rows = self._choose.choice(((80, 24), (120, 40), (100, 30), (200, 50)))
        self._note(f"resize {columns}x{rows}")
        driver = self._app._driver
        assert isinstance(driver, HeadlessDriver)
        driver._size = (columns, rows)
        yield events.Resize(Size(columns, rows), Size(columns, rows))

    def _place(self) -> tuple[int, int]:
        columns, rows = self._app.size
        return self._choose.randrange(max(columns, 1)), self._choose.randrange(max(rows, 1))

    def _note(self, words: str) -> None:
        self.last = [*self.last[-59:], words]


def _mouse(cls: type[events.MouseEvent], x: int, y: int, *, button: int = 1) -> events.MouseEvent:
    return cls(
        widget=None, x=x, y=y, delta_x=0, delta_y=0, button=button, shift=False, meta=False, ctrl=False, screen_x=x, screen_y=y, style=None
    )
