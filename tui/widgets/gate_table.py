"""Gates as rows: what was asked, what was found, and how it ended, in a glyph and a word."""

from __future__ import annotations

from collections.abc import Sequence

from kd.views.gate_table import GateRow, GateState
from kd.views.safe_text import safe_text
from kd.views.waiver_table import WaiverRow, WaiverTable, left_text
from tui.themes import Glyphs
from tui.widgets.figures import short
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows

__all__ = ["GateTable", "gate_status", "waiver_words"]

_COLUMNS = (
    Column("gate", 18, grows=True),
    Column("value", 9, is_right=True),
    Column("rule", 26),
    Column("95 % interval", 17, rank=2),
    Column("n", 6, is_right=True, rank=1),
    Column("level", 6, rank=3),
    Column("status", 14),
)
_WITH_WAIVERS = (
    Column("gate", 14, grows=True),
    Column("value", 9, is_right=True),
    Column("rule", 16),
    *_COLUMNS[3:],
    Column("waiver", 17),
)
_STANDINGS = {"in force": "good", "active": "good", "unanswered": "warn", "not begun": "warn"}


class GateTable(RowList):
    """The gates of a run; a hard one that does not pass is red, one that only warns is yellow."""

    def show_gates(self, lines: Sequence[GateRow], waivers: WaiverTable, now_ms: int, glyphs: Glyphs, *, empty: str) -> None:
        """Show `lines` in their order, each with its waiver if the run has any, or say why there are none."""
        covering = {line.gate.id: waivers.covering(line.gate.id, now_ms) for line in lines} if waivers.granted else {}

        def cells(index: int) -> Sequence[Pieces]:
            line = lines[index]
            found = _cells(line, glyphs)
            if not covering:
                return found
            waiver = covering[line.gate.id]
            if waiver is not None and waiver.standing == "in force":
                found = (*found[:-1], ((f"{glyphs.failed} waived", "warn"),))
            return (*found, waiver_words(waiver, now_ms))

        self.rows = Rows(
            columns=_WITH_WAIVERS if covering else _COLUMNS,
            num_rows=len(lines),
            cells=cells,
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


def waiver_words(row: WaiverRow | None, now_ms: int) -> Pieces:
    """`7F3K  12d  1 of 3`: the end of its id, what is left of it, uses; or, where it does not count, why."""
    if row is None:
        return ()
    waiver = row.waiver
    is_live = row.standing in {"in force", "active"}
    said = left_text(waiver.expires_ms - now_ms) if is_live else row.standing
    return (
        (f"{safe_text(waiver.id[-4:])}  ", "text"),
        (said, _STANDINGS.get(row.standing, "bad")),
        (f"  {row.uses} of {waiver.max_uses}" if is_live else "", "muted"),
    )


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
