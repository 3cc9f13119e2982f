"""The first and the last line of every screen: where and when this is, and which keys do something."""

from __future__ import annotations

from collections.abc import Sequence

from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.feed.frame import EMPTY_FRAME, Frame
from tui.keymap import Key, Keymap
from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.painting import Pieces, fitted, paint, width_of

__all__ = ["FooterLine", "HeaderLine"]

_LEAST_FACTS = 18
"""Cells that facts get where there are few: a state's sign and word."""
_LEAST_RUN = 9
_END_OF_RUN = 6
"""The last characters of a run's id tell it from others of its name."""
_ALWAYS = ("help", "leave")


class HeaderLine(Widget):
    """`kd ▸ path`, facts of the screen, position, lamp of the chain, and whether requests may be made."""

    DEFAULT_CSS = "HeaderLine { height: 1; dock: top; background: $kd-panel; color: $kd-text; }"

    frame: reactive[Frame] = reactive(EMPTY_FRAME)
    path: reactive[tuple[str, ...]] = reactive(())
    facts: reactive[str] = reactive("")
    answer: reactive[str] = reactive("")
    """How the last request fares."""

    def render_line(self, y: int) -> Strip:
        glyphs, width = glyphs_of(self.app), self.size.width
        facts = [(f"   {self.facts}", "text")] if self.facts else []
        answer = [(f"   {self.answer}", "held")] if self.answer else []
        for num_saved in range(3):
            place = _position(self.frame, glyphs, is_short=num_saved > 0)
            chain = _chain(self.frame, glyphs, is_short=num_saved > 1)
            right = [(f"  {words}", tone) for words, tone in (*place, chain, _access(self.frame))]
            room = max(width - width_of(right) - 1, 0)
            wanted = width_of([*facts, *answer])
            path = self._path(room - wanted, glyphs)
            if width_of(path) + min(wanted, _LEAST_FACTS) <= room:
                break
        return paint(
            [*fitted([*path, *facts, *answer], room, ellipsis=glyphs.ellipsis), *right],
            width=width,
            palette=palette_of(self.app),
            background="panel",
        )

    def _path(self, room: int, glyphs: Glyphs) -> Pieces:
        """`kd` and the parts of the path; the first of several, a run's id, makes room for what comes behind."""
        missing = width_of([("kd", ""), *((f"   {part}", "") for part in self.path)]) - room
        pieces = [("kd", "bold accent")]
        for index, part in enumerate(self.path):
            is_run = index == 0 and len(self.path) > 1
            shown = _shortened(part, max(len(part) - missing, _LEAST_RUN), glyphs.ellipsis) if is_run else part
            pieces += [(f" {glyphs.separator} ", "muted"), (shown, "text")]
        return pieces


class FooterLine(Widget):
    """The keys of the screen, as many as fit before those that are on every screen."""

    DEFAULT_CSS = "FooterLine { height: 1; dock: bottom; background: $kd-panel; color: $kd-muted; }"

    keys: reactive[tuple[Key, ...]] = reactive(())
    is_writable: reactive[bool] = reactive(False)

    def show_keys(self, keymap: Keymap, ids: Sequence[str], screen: str) -> None:
        """Show the rows with these ids, in this order."""
        found = (keymap.find(id, screen) for id in (*ids, *_ALWAYS))
        self.keys = tuple(key for key in found if key is not None)

    def render_line(self, y: int) -> Strip:
        parts = [_key_pieces(key) for key in self.keys if self.is_writable or not key.needs_write]
        first, last = parts[: -len(_ALWAYS)], parts[-len(_ALWAYS) :]
        room = self.size.width - sum(map(width_of, last))
        shown: list[Pieces] = []
        for part in first:
            room -= width_of(part)
            if room < 0:
                break
            shown.append(part)
        pieces = [piece for part in (*shown, *last) for piece in part]
        return paint(pieces, width=self.size.width, palette=palette_of(self.app), background="panel")


def _key_pieces(key: Key) -> Pieces:
    return [(f" {Keymap.shown(key.keys[0])}", "accent"), (f" {key.title} ", "muted")]


def _shortened(text: str, cells: int, ellipsis: str) -> str:
    """The beginning and the end of `text`."""
    return text if len(text) <= cells else f"{text[: cells - _END_OF_RUN - 1]}{ellipsis}{text[-_END_OF_RUN:]}"


def _position(frame: Frame, glyphs: Glyphs, *, is_short: bool) -> list[tuple[str, str]]:
    if frame.position < 0:
        return [("no record yet", "muted")]
    place = f"@{frame.position:,}"
    if frame.is_catching_up:
        share = 100 * (frame.position + 1) // max(frame.end, 1)
        left = "" if frame.seconds_left is None else f", {frame.seconds_left:.0f} s left"
        return [(place, "text"), (f"reading {share} %{left}", "warn")]
    if frame.is_live:
        return [(place, "text"), ("live", "good")]
    behind = "" if is_short else f" {frame.behind:,} behind"
    return [(place, "text"), (f"{glyphs.paused} VIEW HELD{behind}", "bold held")]


def _chain(frame: Frame, glyphs: Glyphs, *, is_short: bool) -> tuple[str, str]:
    """The lamp; what is not as it should be always with its words."""
    if frame.damage is not None:
        return f"{glyphs.failed} DAMAGED", "bold bad"
    if frame.head_size > 0 and frame.position < min(frame.head_size, frame.linked_to):
        return f"{glyphs.signed}{'' if is_short else ' signed'}", "good"
    if frame.position < frame.linked_to:
        return f"{glyphs.linked}{'' if is_short else ' linked'}", "good"
    return f"{glyphs.unlinked} not linked yet", "muted"


def _access(frame: Frame) -> tuple[str, str]:
    return ("WRITE", "bold warn") if frame.is_writable else ("READ-ONLY", "muted")
