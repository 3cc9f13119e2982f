"""The text of a blob, page after page, over the screen that named it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget

from kd.views.safe_text import safe_text
from ledger.record import BlobRef
from tui.feed.feed import Feed
from tui.screens.dialog import Dialog
from tui.themes import Glyphs, palette_of
from tui.widgets.painting import Pieces, paint, wrapped
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["BlobText"]


class BlobText(Dialog[None]):
    """Lines of a blob; the next page is read at the end of the last."""

    DEFAULT_CSS = """
    BlobText > Vertical { width: 90%; height: 90%; border: round $kd-accent; background: $kd-background; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", show=False),
        Binding("j,down", "lines('do_down')", show=False),
        Binding("k,up", "lines('do_up')", show=False),
        Binding("g,home", "lines('do_top')", show=False),
        Binding("G,end", "lines('do_bottom')", show=False),
        Binding("pagedown,space", "lines('do_page_down')", show=False),
        Binding("pageup", "lines('do_page_up')", show=False),
    ]

    def __init__(self, feed: Feed, ref: BlobRef) -> None:
        super().__init__()
        self._feed = feed
        self._ref = ref
        self._num_pages = 0
        self._is_whole = False
        """Nothing more will come."""
        self._text = _Text()

    def compose(self) -> ComposeResult:
        with Vertical():
            yield _Title()
            yield VirtualLines(self._text)

    def on_mount(self) -> None:
        self.query_one(VirtualLines).focus()
        self.more_is_here()

    def more_is_here(self) -> None:
        """Show the pages that have come."""
        while self._feed.blobs is not None and not self._is_whole:
            page = self._feed.blobs.page(self._ref, self._num_pages)
            if page is None:
                return
            if page.problem is not None:
                width = self.query_one(VirtualLines).size.width
                self._text.lines.extend(wrapped(((safe_text(page.problem), "bad"),), width))
            self._text.lines.extend(((line, "text"),) for line in page.lines)
            self._num_pages += 1
            self._is_whole = page.problem is not None or self._num_pages == page.num_pages
            checked = "digest right" if page.is_checked else "unreadable" if page.problem else "digest not checked, as it is over 1 MiB"
            title = f"blob {self._ref.sha256[:12]}…  {self._ref.num_bytes:,} B  {checked}  page {self._num_pages} of {page.num_pages}"
            self.query_one(_Title).show(title)
            self.query_one(VirtualLines).update()
            if self._is_whole or len(self._text.lines) > self._wanted_lines():
                return

    def on_virtual_lines_moved(self, message: VirtualLines.Moved) -> None:
        if message.index >= len(self._text.lines) - 1:
            self.more_is_here()

    def action_lines(self, name: str) -> None:
        """Move in the text."""
        getattr(self.query_one(VirtualLines), name)()

    def _wanted_lines(self) -> int:
        return self.query_one(VirtualLines).chosen + self.size.height


class _Text:
    def __init__(self) -> None:
        self.lines: list[Pieces] = []

    def __len__(self) -> int:
        return len(self.lines)

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        return self.lines[index]


class _Title(Widget):
    DEFAULT_CSS = "_Title { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._text = "reading"

    def show(self, text: str) -> None:
        self._text = text
        self.refresh()

    def render_line(self, y: int) -> Strip:
        return paint(((self._text, "muted"),), width=self.size.width, palette=palette_of(self.app))
