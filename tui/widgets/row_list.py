"""A list of any number of rows under a line of titles; columns that do not fit are left out, the least important first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from attrs import field, frozen
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.themes import Glyphs, palette_of
from tui.widgets.painting import Pieces, fitted, paint, spelled
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["NO_ROWS", "Column", "RowList", "Rows"]

_GAP = "  "


@frozen
class Column:
    """A column and the room that it wants."""

    title: str
    width: int
    """Cells; the least of one that grows."""
    grows: bool = False
    """It takes what the others leave."""
    is_right: bool = False
    """Numbers stand at the right."""
    rank: int = 0
    """Of the columns that do not fit, those of the highest rank are left out."""


def _no_cells(index: int) -> Sequence[Pieces]:
    raise IndexError(index)


@frozen(kw_only=True)
class Rows:
    """What a list shows."""

    columns: tuple[Column, ...]
    num_rows: int
    cells: Callable[[int], Sequence[Pieces]] = field(default=_no_cells, eq=False)
    """The pieces of each column of a row."""
    key: Callable[[int], object] = field(default=lambda index: index, eq=False)
    """What a row is about, so that the choice stays with it when rows come and go."""
    empty: str = "nothing yet"
    """In words, why there are no rows."""


NO_ROWS = Rows(columns=(), num_rows=0)


class RowList(Vertical):
    """Rows to choose from, under their titles."""

    DEFAULT_CSS = "RowList { height: 1fr; } RowList VirtualLines { height: 1fr; overflow-x: hidden; }"

    rows: reactive[Rows] = reactive(NO_ROWS, init=False, always_update=True)

    @dataclass
    class Chosen(Message):
        """List to screen: another row is chosen."""

        list: RowList
        index: int

        @property
        def control(self) -> RowList:
            return self.list

    @dataclass
    class Opened(Message):
        """List to screen: the chosen row is to be opened."""

        list: RowList
        index: int

        @property
        def control(self) -> RowList:
            return self.list

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines = VirtualLines(_Source(self))

    def compose(self) -> ComposeResult:
        yield _Titles(self)
        yield self.lines

    @property
    def chosen(self) -> int | None:
        """Index of the chosen row; None if there is none."""
        return self.lines.chosen if 0 <= self.lines.chosen < self.rows.num_rows else None

    def focus(self, scroll_visible: bool = True) -> Self:
        self.lines.focus(scroll_visible)
        return self

    def choose(self, index: int) -> None:
        """Choose a row, the nearest there is."""
        self.lines.is_following = False
        self.lines.chosen = max(0, min(index, self.rows.num_rows - 1))

    def watch_rows(self, old: Rows, new: Rows) -> None:
        chosen = self.lines.chosen
        if 0 <= chosen < old.num_rows and new.num_rows:
            chosen = _index_of(old.key(chosen), new, chosen)
        self.lines.update()
        if not self.lines.is_following:
            self.choose(chosen)
        for titles in self.query(_Titles):
            titles.refresh()

    def on_virtual_lines_moved(self, message: VirtualLines.Moved) -> None:
        message.stop()
        if self.chosen is not None:
            self.post_message(self.Chosen(self, message.index))

    def on_virtual_lines_opened(self, message: VirtualLines.Opened) -> None:
        message.stop()
        if self.chosen is not None:
            self.post_message(self.Opened(self, message.index))

    def do_next_item(self) -> None:
        self.lines.do_down()

    def do_previous_item(self) -> None:
        self.lines.do_up()


class _Titles(Widget):
    """The titles of the columns, where the columns are."""

    DEFAULT_CSS = "_Titles { height: 1; background: $kd-panel; }"

    def __init__(self, rows: RowList) -> None:
        super().__init__()
        self._list = rows

    def render_line(self, y: int) -> Strip:
        columns = _laid_out(self._list.rows.columns, _room(self._list.lines.size.width))
        pieces = _joined([fitted(((column.title, "muted"),), size, is_right=column.is_right) for _, column, size in columns])
        return paint(pieces, width=self.size.width, palette=palette_of(self.app), background="panel")


class _Source:
    """The rows as lines."""

    def __init__(self, rows: RowList) -> None:
        self._list = rows

    def __len__(self) -> int:
        return max(self._list.rows.num_rows, 1)

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        rows = self._list.rows
        if rows.num_rows == 0:
            return ((f"  {rows.empty}", "muted"),)
        cells = rows.cells(index)
        parts = [
            fitted(spelled(cells[place], glyphs), size, is_right=column.is_right, ellipsis=glyphs.ellipsis)
            for place, column, size in _laid_out(rows.columns, _room(width))
        ]
        return _joined(parts, f"{glyphs.chosen} " if index == self._list.lines.chosen else _GAP)


def _room(width: int) -> int:
    """Cells for columns and the gaps between them."""
    return width - len(_GAP) - 1


def _joined(parts: Sequence[Pieces], lead: str = _GAP) -> Pieces:
    pieces: list[tuple[str, str]] = [(lead, "accent")]
    for number, part in enumerate(parts):
        if number:
            pieces.append((_GAP, "text"))
        pieces.extend(part)
    return pieces


def _laid_out(columns: Sequence[Column], room: int) -> tuple[tuple[int, Column, int], ...]:
    """Place, column and cells of those that fit into `room`."""
    kept = list(enumerate(columns))
    while len(kept) > 1 and _needed(kept) > room:
        rank = max(column.rank for _, column in kept)
        if rank == 0:
            break
        kept.remove(next(pair for pair in reversed(kept) if pair[1].rank == rank))
    spare = max(room - _needed(kept), 0)
    num_growing = sum(column.grows for _, column in kept)
    laid = []
    for place, column in kept:
        share = -(-spare // num_growing) if column.grows else 0
        if column.grows:
            spare, num_growing = spare - share, num_growing - 1
        laid.append((place, column, column.width + share))
    return tuple(laid)


def _needed(kept: Sequence[tuple[int, Column]]) -> int:
    return sum(column.width for _, column in kept) + len(_GAP) * (len(kept) - 1)


def _index_of(key: object, rows: Rows, near: int) -> int:
    """Where the row about `key` is now: where it was, or else nearby; else where it was."""
    index: int
    for index in (near, *range(max(0, near - 64), min(rows.num_rows, near + 1_024))):
        if index < rows.num_rows and rows.key(index) == key:
            return index
    return near
