"""The first and the last line of every screen: where and when this is, and which keys do something."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from tui.feed.frame import EMPTY_FRAME, Frame
from tui.keymap import Key, Keymap
from tui.themes import Glyphs, Palette, glyphs_of, palette_of

__all__ = ["FooterLine", "HeaderLine"]


class HeaderLine(Widget):
    """`kd ▸ path`, facts of the screen, position, lamp of the chain, and whether requests may be made."""

    DEFAULT_CSS = "HeaderLine { height: 1; dock: top; background: $kd-panel; color: $kd-text; }"

    frame: reactive[Frame] = reactive(EMPTY_FRAME)
    path: reactive[tuple[str, ...]] = reactive(())
    facts: reactive[str] = reactive("")
    answer: reactive[str] = reactive("")
    """How the last request fares."""

    def render(self) -> Text:
        palette, glyphs, frame = palette_of(self.app), glyphs_of(self.app), self.frame
        width = self.size.width
        left = Text("kd", style=f"bold {palette.accent}")
        for part in self.path:
            left.append(f" {glyphs.separator} ", palette.muted)
            left.append(part, palette.text)
        right = Text()
        for words, colour in (*_position(frame, palette, glyphs), _chain(frame, palette, glyphs), _access(frame, palette)):
            if words:
                right.append(f"  {words}", colour)
        middle = Text(f"   {self.answer or self.facts}", style=palette.held if self.answer else palette.text)
        room = width - right.cell_len
        left.truncate(max(room, 0), overflow="ellipsis")
        middle.truncate(max(room - left.cell_len, 0), overflow="ellipsis")
        gap = max(room - left.cell_len - middle.cell_len, 0)
        line = left + middle + Text(" " * gap) + right
        line.truncate(width)
        line.no_wrap = True
        return line


class FooterLine(Widget):
    """The keys of the screen, as many as fit."""

    DEFAULT_CSS = "FooterLine { height: 1; dock: bottom; background: $kd-panel; color: $kd-muted; }"

    keys: reactive[tuple[Key, ...]] = reactive(())
    is_writable: reactive[bool] = reactive(False)

    def show_keys(self, keymap: Keymap, ids: Sequence[str], screen: str) -> None:
        """Show the rows with these ids, in this order."""
        found = (keymap.find(id, screen) for id in ids)
        self.keys = tuple(key for key in found if key is not None)

    def render(self) -> Text:
        palette = palette_of(self.app)
        line = Text(no_wrap=True)
        for key in self.keys:
            if key.needs_write and not self.is_writable:
                continue
            part = Text(" " if not line else "  ")
            part.append(Keymap.shown(key.keys[0]), palette.accent)
            part.append(f" {key.title}", palette.muted)
            if line.cell_len + part.cell_len > self.size.width:
                break
            line.append_text(part)
        return line


def _position(frame: Frame, palette: Palette, glyphs: Glyphs) -> list[tuple[str, str]]:
    if frame.position < 0:
        return [("no record yet", palette.muted)]
    place = f"@{frame.position:,}"
    if frame.is_catching_up:
        share = 100 * (frame.position + 1) // max(frame.end, 1)
        left = "" if frame.seconds_left is None else f", {frame.seconds_left:.0f} s left"
        return [(place, palette.text), (f"reading {share} %{left}", palette.warn)]
    if frame.is_live:
        return [(place, palette.text), ("live", palette.good)]
    return [(place, palette.text), (f"{glyphs.paused} VIEW HELD {frame.behind:,} behind", f"bold {palette.held}")]


def _chain(frame: Frame, palette: Palette, glyphs: Glyphs) -> tuple[str, str]:
    if frame.damage is not None:
        return f"{glyphs.failed} DAMAGED", f"bold {palette.bad}"
    if frame.head_size > 0 and frame.position < min(frame.head_size, frame.linked_to):
        return f"{glyphs.signed} signed", palette.good
    if frame.position < frame.linked_to:
        return f"{glyphs.linked} linked", palette.good
    return f"{glyphs.unlinked} not linked yet", palette.muted


def _access(frame: Frame, palette: Palette) -> tuple[str, str]:
    return ("WRITE", f"bold {palette.warn}") if frame.is_writable else ("READ-ONLY", palette.muted)
