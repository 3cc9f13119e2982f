"""Texts of people and models to read: blocks under titles, wrapped to the pane, scrolled by line."""

from __future__ import annotations

from attrs import frozen
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.painting import Pieces, paint, spelled, wrapped

__all__ = ["EMPTY_TEXT", "Block", "ReadingText", "Transcript"]


@frozen(kw_only=True)
class Block:
    """A titled part of a text."""

    title: str
    lines: tuple[Pieces, ...] = ()
    """Texts must have gone through `safe_text`."""
    note: str = ""
    """Beside the title: role, size, what became of it."""
    tone: str = "muted"
    """Colour of the title."""
    bar: str = ""
    """Drawn before each line: marks what is to be learnt."""


@frozen(kw_only=True)
class ReadingText:
    """What a pane shows."""

    blocks: tuple[Block, ...] = ()
    empty: str = ""
    """In words, why there is nothing to read."""
    key: object = None
    """What the text is about; another key begins at its first line."""


EMPTY_TEXT = ReadingText()


class Transcript(ScrollView, can_focus=True, inherit_bindings=False):
    """A text to read."""

    DEFAULT_CSS = "Transcript { background: $kd-background; color: $kd-text; overflow-x: hidden; }"

    text: reactive[ReadingText] = reactive(EMPTY_TEXT)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Pieces] = []
        self._width = -1

    def watch_text(self, old: ReadingText, new: ReadingText) -> None:
        self._width = -1
        self._lay_out()
        if old.key != new.key:
            self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    def on_resize(self) -> None:
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        width, palette = self.size.width, palette_of(self.app)
        self._lay_out()
        number = round(self.scroll_y) + y
        pieces = self._lines[number] if number < len(self._lines) else ()
        return paint(pieces, width=width, palette=palette)

    def do_down(self) -> None:
        self.scroll_relative(y=1, animate=False, force=True)

    def do_up(self) -> None:
        self.scroll_relative(y=-1, animate=False, force=True)

    def do_top(self) -> None:
        self.scroll_to(y=0, animate=False, force=True)

    def do_bottom(self) -> None:
        self.scroll_to(y=len(self._lines), animate=False, force=True)

    def do_page_down(self) -> None:
        self.scroll_relative(y=max(self.size.height - 1, 1), animate=False, force=True)

    def do_page_up(self) -> None:
        self.scroll_relative(y=-max(self.size.height - 1, 1), animate=False, force=True)

    def _lay_out(self) -> None:
        width = self.size.width
        if width == self._width or width == 0:
            return
        self._width = width
        self._lines = [((f" {self.text.empty}", "muted"),)] if self.text.empty else []
        for number, block in enumerate(self.text.blocks):
            if number:
                self._lines.append(())
            self._lines += _laid_out(block, width, glyphs_of(self.app))
        self.virtual_size = Size(0, len(self._lines))


def _laid_out(block: Block, width: int, glyphs: Glyphs) -> list[Pieces]:
    ((lead, _),) = spelled(((f" {block.bar} " if block.bar else " ", block.tone),), glyphs)
    head = ((block.title, f"bold {block.tone}"), (f"  {block.note}" if block.note else "", "muted"))
    title = wrapped(spelled(head, glyphs), width - 1)
    lines: list[Pieces] = [((" ", "muted"), *line) for line in title]
    for text in block.lines:
        lines += [((lead, block.tone), *line) for line in wrapped(text, width - len(lead))]
    return lines
