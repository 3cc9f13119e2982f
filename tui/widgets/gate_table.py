"""Gates as rows: what was asked, what was found, and how it ended, in a glyph and a word."""

from __future__ import annotations

from collections.abc import Sequence

from kd.views.gate_table import GateRow, GateState
from kd.views.safe_text import safe_text
from tui.themes import Glyphs
from tui.widgets.figures import short
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows

__all__ = ["GateTable", "gate_status"]

_COLUMNS = (
    Column("gate", 18, grows=True),
    Column("value", 9, is_right=True),
    Column("rule", 26),
    Column("95 % interval", 17, rank=2),
    Column("n", 6, is_right=True, rank=1),
    Column("level", 6, rank=3),
    Column("status", 14),
)


class GateTable(RowList):
    """The gates of a run; a hard one that does not pass is red, one that only warns is yellow."""

    def show_gates(self, lines: Sequence[GateRow], glyphs: Glyphs, *, empty: str) -> None:
        """Show `lines` in their order, or say why there are none."""
        self.rows = Rows(
            columns=_COLUMNS,
            num_rows=len(lines),
            cells=lambda index: _cells(lines[index], glyphs),
            key=lambda index: lines[index].gate.id,
            empty=empty,
        )


def gate_status(status: GateState, level: str, glyphs: Glyphs) -> tuple[str, str]:
    """Glyph and word, and the colour for them; only a hard gate is red."""
    against = {"hard": "bad", "warn": "warn"}.get(level, "muted")
    match status:
        case "pass":
            return f"{glyphs.done} pass", "good"
        case "fail":
            return f"{glyphs.failed} fail", against
        case "inconclusive":
            return f"{glyphs.unknown} inconclusive", against
        case "waiting":
            return f"{glyphs.waiting} waiting", "muted"


def _cells(row: GateRow, glyphs: Glyphs) -> Sequence[Pieces]:
    interval = "" if row.low is None or row.high is None else f"{short(row.low)} to {short(row.high)}"
    return (
        ((safe_text(row.gate.id), "text"),),
        ((short(row.value), "muted" if row.value is None else "bold text"),),
        ((safe_text(_rule(row)), "muted"),),
        ((interval, "muted"),),
        ((glyphs.dash if row.n is None else f"{row.n:,}", "muted"),),
        ((row.gate.level, "text" if row.gate.level == "hard" else "muted"),),
        (gate_status(row.status, row.gate.level, glyphs),),
    )


def _rule(row: GateRow) -> str:
    """`≥ 0.9`, or `≤ 2.845, 0.6 × untrained` where the bar goes by another slice."""
    if row.bar is None or row.gate.relative_to is None:
        return row.rule
    return f"{row.rule[0]} {short(row.bar)}, {row.gate.theta:.6g} × {row.gate.relative_to}"
