"""Scores of an evaluated item in few characters, and numbers per token as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kd.evaluation.events import Score
from kd.views.eval_table import Item
from kd.views.safe_text import safe_text
from tui.themes import Glyphs
from tui.widgets.figures import short
from tui.widgets.painting import Pieces

__all__ = ["has_success", "item_value", "score_name", "scores_of", "sparkline"]

_SCORES = {"perplexity": "nll_nats", "tokens_per_second": "decode_ns", "ttft_ms": "ttft_ns"}
_SUCCESSES = frozenset({"call_validity", "tool_name_accuracy", "right_call", "argument_accuracy"})
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*%#"
_MAX_BARS = 64


def score_name(metric: str) -> str:
    """The score of an item that `metric` is made of."""
    return _SCORES.get(metric, metric)


def has_success(name: str) -> bool:
    """Whether the score counts successes, so that an item can be right or wrong."""
    return name in _SUCCESSES


def item_value(item: Item, metric: str, glyphs: Glyphs) -> tuple[str, str]:
    """What the item says of `metric`, and its colour."""
    score = next((score for score in item.event.scores if score.name == score_name(metric)), None)
    if score is None:
        return glyphs.unknown if item.is_error else glyphs.dash, "bad" if item.is_error else "muted"
    return _value(score, glyphs)


def scores_of(item: Item, glyphs: Glyphs) -> Iterator[Pieces]:
    """A line for each score."""
    for score in item.event.scores:
        yield (f"{safe_text(score.name):<19} ", "muted"), _value(score, glyphs)


def sparkline(values: Sequence[float], glyphs: Glyphs) -> Iterator[Pieces]:
    """Bars of the numbers, at most 64 a line, then least, mean and most."""
    bars = _ASCII_BARS if glyphs.full == "#" else _BARS
    low, high = min(values), max(values)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    text = "".join(bars[round((value - low) * scale)] for value in values)
    for start in range(0, len(text), _MAX_BARS):
        yield ((text[start : start + _MAX_BARS], "accent"),)
    yield ((f"{len(values)} tokens, {short(low)} to {short(high)}, mean {short(sum(values) / len(values))}", "muted"),)


def _value(score: Score, glyphs: Glyphs) -> tuple[str, str]:
    match score.name:
        case "decode_ns":
            return (f"{short(score.count * 1e9 / score.total)} tok/s" if score.total > 0 else glyphs.dash), "text"
        case "ttft_ns":
            return f"{short(score.total / 1e6)} ms", "text"
        case name if name in _SUCCESSES and score.count == 1:
            return (f"{glyphs.done} right", "good") if score.total == 1 else (f"{glyphs.failed} wrong", "warn")
        case name if name in _SUCCESSES:
            return f"{score.total:.0f} of {score.count}", "good" if score.total == score.count else "warn"
        case _:
            return (short(score.total / score.count) if score.count else glyphs.dash), "text"
