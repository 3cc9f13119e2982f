"""What changed between two moments, value by value, with the record that set the newer one."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tui.themes import glyphs_of
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows

__all__ = ["Difference", "StateDiff"]

_COLUMNS = (
    Column("what changed from A to B", 24, grows=True),
    Column("A", 16, grows=True),
    Column("B", 16, grows=True),
    Column("set by", 11, is_right=True),
)
_BAD = frozenset({"failed", "rejected", "cancelled", "fail"})
_WARN = frozenset({"paused", "pausing", "inconclusive"})


@frozen(kw_only=True)
class Difference:
    """One value that is not the same at A and at B."""

    path: str
    a: str
    b: str
    set_by: int | None = None
    """The record that gave it the value it has at B."""


class StateDiff(RowList):
    """A row per value; the record that set it is one key away."""

    differences: Sequence[Difference] = ()

    def give(self, differences: Sequence[Difference], words: str) -> None:
        """Show these, or words where there are none: nothing pinned yet, still reading, nothing changed."""
        self.differences = differences
        self.rows = Rows(
            columns=_COLUMNS,
            num_rows=len(differences),
            cells=self._cells,
            key=lambda index: differences[index].path,
            empty=words,
        )

    @property
    def position(self) -> int | None:
        """The record that set the chosen row's newer value."""
        return None if self.chosen is None else self.differences[self.chosen].set_by

    def _cells(self, index: int) -> Sequence[Pieces]:
        row = self.differences[index]
        origin = glyphs_of(self.app).dash if row.set_by is None else f"@{row.set_by:,}"
        return ((row.path, "text"),), ((row.a, "muted"),), ((row.b, _tone(row.b)),), ((origin, "accent"),)


def _tone(value: str) -> str:
    """Words that say a failure look like one."""
    word = value.casefold()
    return "bad" if word in _BAD else "warn" if word in _WARN else "text"
