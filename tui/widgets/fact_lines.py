"""A few lines of facts above or beneath a list; each line is cut where the room ends."""

from __future__ import annotations

from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.themes import glyphs_of, palette_of
from tui.widgets.painting import Pieces, fitted, paint, spelled

__all__ = ["FactLines"]


class FactLines(Widget):
    """As many lines as it is given; `-title` puts them on a bar."""

    DEFAULT_CSS = "FactLines { height: auto; } FactLines.-title { background: $kd-panel; }"

    lines: reactive[tuple[Pieces, ...]] = reactive((), layout=True)

    def __init__(self, *lines: Pieces, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(FactLines.lines, lines)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines)

    def render_line(self, y: int) -> Strip:
        width, glyphs = self.content_size.width, glyphs_of(self.app)
        pieces = spelled(self.lines[y] if y < len(self.lines) else (), glyphs)
        background = "panel" if self.has_class("-title") else "background"
        return paint(
            fitted(((" ", "text"), *pieces), width, ellipsis=glyphs.ellipsis),
            width=width,
            palette=palette_of(self.app),
            background=background,
        )
