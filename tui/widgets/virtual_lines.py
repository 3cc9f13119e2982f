"""A list of any length: only the lines on screen are drawn, and its height follows from their number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from textual import events
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.painting import Pieces, paint

__all__ = ["LineSource", "VirtualLines"]

_MAX_STRIPS = 4_000


class LineSource(Protocol):
    """What a list shows."""

    def __len__(self) -> int: ...

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        """Line `index` for `width` cells; made of safe text alone."""
        ...


class VirtualLines(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws a LineSource, with one line chosen; the choice is an index and stays where it is when lines are added."""

    DEFAULT_CSS = "VirtualLines { height: 1fr; overflow-x: hidden; }"

    @dataclass
    class Moved(Message):
        """Another line was chosen."""

        lines: VirtualLines
        index: int

    @dataclass
    class Opened(Message):
        """The chosen line is to be opened."""

        lines: VirtualLines
        index: int

    chosen: reactive[int] = reactive(0, init=False)
    is_following: reactive[bool] = reactive(False)
    """The last line stays chosen when lines are added."""

    def __init__(self, source: LineSource, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.source = source
        self._num_lines = 0
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(_MAX_STRIPS)

    def update(self, *, from_line: int = 0) -> None:
        """The source has changed, from line `from_line` on; what was drawn above it still holds."""
        num_lines = len(self.source)
        if from_line == 0:
            self._strips.clear()
        else:
            for key in [key for key in self._strips.keys() if isinstance(key[0], int) and key[0] >= from_line]:  # noqa: SIM118
                self._strips.discard(key)
        if num_lines != self._num_lines:
            self._num_lines = num_lines
            self.virtual_size = Size(0, num_lines)
        last = max(num_lines - 1, 0)
        self.chosen = last if self.is_following else min(self.chosen, last)
        self.refresh()

    def on_mount(self) -> None:
        self.update()

    def on_resize(self, event: events.Resize) -> None:
        self._strips.clear()
        self.virtual_size = Size(0, self._num_lines)
        self._show_chosen()

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        width = self.size.width
        palette = palette_of(self.app)
        is_chosen = index == self.chosen
        key = (index, is_chosen, is_chosen and self.has_focus, width, palette.name)
        strip = self._strips.get(key)
        if strip is None:
            pieces = self.source.draw(index, width, glyphs_of(self.app)) if index < self._num_lines else ()
            behind = "background" if not is_chosen or not self._num_lines else "selection" if self.has_focus else "panel"
            strip = self._strips[key] = paint(pieces, width=width, palette=palette, background=behind)
        return strip

    def watch_chosen(self, old: int, new: int) -> None:
        for index in (old, new):
            self.refresh(Region(0, index - self.scroll_offset.y, self.size.width, 1))
        self._show_chosen()
        if old != new:
            self.post_message(self.Moved(self, new))

    def watch_is_following(self, is_following: bool) -> None:
        if is_following and self._num_lines:
            self.chosen = self._num_lines - 1

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < self._num_lines:
            self.is_following = False
            self.chosen = index
            if event.chain > 1:
                self.do_open()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def do_down(self) -> None:
        self._move(1)

    def do_up(self) -> None:
        self._move(-1)

    def do_page_down(self) -> None:
        self._move(max(self.size.height - 1, 1))

    def do_page_up(self) -> None:
        self._move(-max(self.size.height - 1, 1))

    def do_top(self) -> None:
        self._move(-self._num_lines)

    def do_bottom(self) -> None:
        self._move(self._num_lines)

    def do_follow(self) -> None:
        self.is_following = not self.is_following

    def do_open(self) -> None:
        if self._num_lines:
            self.post_message(self.Opened(self, self.chosen))

    def _move(self, lines: int) -> None:
        self.is_following = False
        self.chosen = min(max(self.chosen + lines, 0), max(self._num_lines - 1, 0))

    def _show_chosen(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if height and not top <= self.chosen < top + height:
            y = self.chosen if self.chosen < top else self.chosen - height + 1
            self.scroll_to(y=y, animate=False, force=True, immediate=True)
