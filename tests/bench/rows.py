"""What a benchmark answers with: one row a piece of work, and the arithmetic of interleaved rounds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from attrs import asdict, frozen

__all__ = ["Compared", "Row", "compare", "format_value", "interleave", "quantile", "rows_to_json", "rows_to_table"]

_NUM_RESAMPLES = 1000
_HEADINGS = ("work", "ours", "unit", "against", "theirs", "ratio", "must", "holds", "note")


@frozen(kw_only=True)
class Row:
    """One piece of work: ours beside a peer, a floor or another arm of the same run."""

    work: str
    ours: float | None
    """None where it could not be measured; `note` says why."""
    unit: str
    against: str | None = None
    theirs: float | None = None
    ratio: float | None = None
    """ours / theirs."""
    must: str | None = None
    """The goal, `ratio >= 0.80`; None where this row only informs."""
    holds: bool | None = None
    note: str = ""


@frozen(kw_only=True)
class Compared:
    """Medians of interleaved rounds, and the median of their ratios with its 95 % bootstrap interval."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def interleave(ours: Callable[[], float], theirs: Callable[[], float], *, num_rounds: int) -> Compared:
    """Measure A B A B …, so that a drift of the machine meets both."""
    rounds = [(ours(), theirs()) for _ in range(num_rounds)]
    return compare([a for a, _ in rounds], [b for _, b in rounds])


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Compared:
    """The same for values already measured, those of one round at the same place of both."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    draws = random.Random(0)
    medians = [median(draws.choices(ratios, k=len(ratios))) for _ in range(_NUM_RESAMPLES)]
    return Compared(
        ours=median(ours),
        theirs=median(theirs),
        ratio=median(ratios),
        low=quantile(medians, 0.025),
        high=quantile(medians, 0.975),
    )


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not below `share` of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def format_value(value: object) -> str:
    """A cell of a table: four significant digits, yes or no, or a dash."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "NO"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        case _:
            return str(value)


def rows_to_json(rows: Sequence[Row]) -> str:
    """The rows as one JSON document."""
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)


def rows_to_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    body = [[format_value(getattr(row, heading)) for heading in _HEADINGS] for row in rows]
    lines = [list(_HEADINGS), ["---"] * len(_HEADINGS), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
