"""The first and the last line of every screen: where and when this is, and which keys do something."""

from __future__ import annotations

from collections.abc import Sequence

from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.feed.frame import EMPTY_FRAME, Frame
from tui.keymap import Key, Keymap
from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.painting import fitted, paint, width_of

__all__ = ["FooterLine", "HeaderLine"]


class HeaderLine(Widget):
    """`kd ▸ path`, facts of the screen, position, lamp of the chain, and whether requests may be made."""

    DEFAULT_CSS = "HeaderLine { height: 1; dock: top; background: $kd-panel; color: $kd-text; }"

    frame: reactive[Frame] = reactive(EMPTY_FRAME)
    path: reactive[tuple[str, ...]] = reactive(())
    facts: reactive[str] = reactive("")
    answer: reactive[str] = reactive("")
    """How the last request fares."""

    def render_line(self, y: int) -> Strip:
        glyphs, frame, width = glyphs_of(self.app), self.frame, self.size.width
        left = [("kd", "bold accent")]
        for part in self.path:
            left += [(f" {glyphs.separator} ", "muted"), (part, "text")]
        right = [(f"  {words}", tone) for words, tone in (*_position(frame, glyphs), _chain(frame, glyphs), _access(frame))]
        middle = [(f"   {words}", tone) for words, tone in ((self.facts, "text"), (self.answer, "held")) if words]
        room = max(width - width_of(right) - 1, 0)
        pieces = [*fitted([*left, *middle], room, ellipsis=glyphs.ellipsis), *right]
        return paint(pieces, width=width, palette=palette_of(self.app), background="panel")


class FooterLine(Widget):
    """The keys of the screen, as many as fit."""

    DEFAULT_CSS = "FooterLine { height: 1; dock: bottom; background: $kd-panel; color: $kd-muted; }"

    keys: reactive[tuple[Key, ...]] = reactive(())
    is_writable: reactive[bool] = reactive(False)

    def show_keys(self, keymap: Keymap, ids: Sequence[str], screen: str) -> None:
        """Show the rows with these ids, in this order."""
        found = (keymap.find(id, screen) for id in ids)
        self.keys = tuple(key for key in found if key is not None)

    def render_line(self, y: int) -> Strip:
        pieces: list[tuple[str, str]] = []
        for key in self.keys:
            if key.needs_write and not self.is_writable:
                continue
            part = [("  " if pieces else " ", "text"), (Keymap.shown(key.keys[0]), "accent"), (f" {key.title}", "muted")]
            if width_of(pieces) + width_of(part) > self.size.width:
                break
            pieces += part
        return paint(pieces, width=self.size.width, palette=palette_of(self.app), background="panel")


def _position(frame: Frame, glyphs: Glyphs) -> list[tuple[str, str]]:
    if frame.position < 0:
        return [("no record yet", "muted")]
    place = f"@{frame.position:,}"
    if frame.is_catching_up:
        share = 100 * (frame.position + 1) // max(frame.end, 1)
        left = "" if frame.seconds_left is None else f", {frame.seconds_left:.0f} s left"
        return [(place, "text"), (f"reading {share} %{left}", "warn")]
    if frame.is_live:
        return [(place, "text"), ("live", "good")]
    return [(place, "text"), (f"{glyphs.paused} VIEW HELD {frame.behind:,} behind", "bold held")]


def _chain(frame: Frame, glyphs: Glyphs) -> tuple[str, str]:
    if frame.damage is not None:
        return f"{glyphs.failed} DAMAGED", "bold bad"
    if frame.head_size > 0 and frame.position < min(frame.head_size, frame.linked_to):
        return f"{glyphs.signed} signed", "good"
    if frame.position < frame.linked_to:
        return f"{glyphs.linked} linked", "good"
    return f"{glyphs.unlinked} not linked yet", "muted"


def _access(frame: Frame) -> tuple[str, str]:
    return ("WRITE", "bold warn") if frame.is_writable else ("READ-ONLY", "muted")
