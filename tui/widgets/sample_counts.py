"""Counts by name, the most frequent first, and lengths as a row of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kd.views.safe_text import safe_text
from tui.themes import Glyphs
from tui.widgets.painting import Pieces

__all__ = ["bars_of", "counted"]

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*%#"
_NUM_BARS = 24


def counted(counts: Mapping[str, int], glyphs: Glyphs) -> Pieces:
    """`schema 88 · duplicate 61`, the most frequent first."""
    pieces: list[tuple[str, str]] = []
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if pieces:
            pieces.append((f" {glyphs.middle_dot} ", "muted"))
        pieces += [(f"{safe_text(name.replace('_', ' '))} ", "text"), (f"{count:,}", "bold text")]
    return pieces


def bars_of(lengths: Sequence[int], glyphs: Glyphs) -> Pieces:
    """How many are how long, in 24 equal steps from the shortest to the longest."""
    low, high = min(lengths), max(lengths)
    tallies = [0] * _NUM_BARS
    for length in lengths:
        tallies[min((length - low) * _NUM_BARS // max(high - low, 1), _NUM_BARS - 1)] += 1
    bars = _ASCII_BARS if glyphs.full == "#" else _BARS
    most = max(tallies)
    text = "".join(bars[-(-tally * (len(bars) - 1) // most)] for tally in tallies)
    middle = sorted(lengths)[len(lengths) // 2]
    return ((f"{low:,} ", "muted"), (text, "accent"), (f" {high:,} characters, half have {middle:,} or less", "muted"))
