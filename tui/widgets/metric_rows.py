"""Measurements as rows: value with unit, interval, number of items, what a baseline says, and the gate that rests on it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from kd.evidence import GateResult, Measurement
from kd.views.eval_table import MetricRow
from kd.views.gate_table import rule_text
from kd.views.safe_text import safe_text
from tui.themes import Glyphs
from tui.widgets.figures import short
from tui.widgets.gate_table import gate_status
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows

__all__ = ["MetricLine", "MetricRows"]

_COLUMNS = (
    Column("suite", 8),
    Column("slice", 11),
    Column("metric", 18, grows=True),
    Column("value", 9, is_right=True),
    Column("unit", 10, rank=3),
    Column("95 % interval", 17, rank=2),
    Column("n", 6, is_right=True),
    Column("baseline", 12, is_right=True, rank=2),
    Column("gate", 14, grows=True, rank=1),
)
_WITHOUT_BASELINE = tuple(column for column in _COLUMNS if column.title != "baseline")


@frozen(kw_only=True)
class MetricLine:
    """A measurement and what stands beside it."""

    row: MetricRow
    baseline: Measurement | None = None
    reason: str = ""
    """Why the baseline cannot be compared; empty where it can."""
    is_waiting: bool = False
    """The baseline is being read."""


class MetricRows(RowList):
    """The measurements of a run, in the order in which they were recorded."""

    def show_metrics(self, lines: Sequence[MetricLine], glyphs: Glyphs, *, has_baseline: bool, empty: str) -> None:
        """Show `lines` in their order, or say why there are none."""
        self.rows = Rows(
            columns=_COLUMNS if has_baseline else _WITHOUT_BASELINE,
            num_rows=len(lines),
            cells=lambda index: _cells(lines[index], glyphs, has_baseline=has_baseline),
            key=lambda index: _key(lines[index].row.measurement),
            empty=empty,
        )


def _key(found: Measurement) -> tuple[str, str, str]:
    return found.suite, found.slice, found.metric


def _cells(line: MetricLine, glyphs: Glyphs, *, has_baseline: bool) -> Sequence[Pieces]:
    found = line.row.measurement
    interval = "" if found.low is None or found.high is None else f"{short(found.low)} to {short(found.high)}"
    cells: list[Pieces] = [
        ((safe_text(found.suite), "muted"),),
        ((safe_text(found.slice), "text"),),
        ((safe_text(found.metric), "text"),),
        ((short(found.value), "bold text" if found.value is not None else "muted"),),
        ((safe_text(found.unit), "muted"),),
        ((interval, "muted"),),
        ((f"{found.n:,}", "muted"),),
    ]
    if has_baseline:
        cells.append(_baseline(line, glyphs))
    cells.append(_gate(line.row.gates, glyphs))
    return cells


def _baseline(line: MetricLine, glyphs: Glyphs) -> Pieces:
    if line.is_waiting:
        return ((f"reading{glyphs.ellipsis}", "muted"),)
    if line.reason:
        return ((f"{glyphs.unknown} differs", "warn"),)
    return ((short(None if line.baseline is None else line.baseline.value), "text"),)


def _gate(gates: Sequence[GateResult], glyphs: Glyphs) -> Pieces:
    if not gates:
        return (("", "muted"),)
    worst = max(gates, key=lambda gate: (gate.status != "pass", gate.gate.level == "hard"))
    status, tone = gate_status(worst.status, worst.gate.level, glyphs)
    return ((f"{status.split(' ')[0]} ", tone), (safe_text(rule_text(worst.gate)), "muted"))
