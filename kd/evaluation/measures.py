"""From evaluated items to measurements: a pure function, so that anyone can derive every number again from the events alone.

suite     metric              what it is
lm        nll_nats            Σ nll / Σ tokens over the supervised targets
lm        perplexity          exp(nll_nats)
lm        kl_nats             Σ (cross-entropy - entropy) / Σ tokens where the teacher had a choice: the divergence from what was
                              recorded, which is the renormalised distribution where a grammar bound the teacher
lm        top1_agreement      share of those tokens where student and teacher prefer the same one
tool_use  call_validity       share of items whose answer is calls of offered tools that fit their schemas, and nothing malformed
tool_use  tool_name_accuracy  share of items whose calls have the right names
tool_use  argument_accuracy   right arguments / gold arguments
tool_use  right_call          share of items whose calls equal the gold calls
speed     tokens_per_second   median over requests, from the first token to the last
speed     ttft_ms             median over requests, from the request to the first token
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from kd.evaluation.events import ItemEvaluated, Score
from kd.evaluation.statistics import NUM_RESAMPLES, median, median_interval, ratio, ratio_interval, wilson_interval
from kd.evidence import Measurement

__all__ = ["measure"]

_BOOTSTRAP = f"ratio of sums; cluster bootstrap over items, {NUM_RESAMPLES} resamples, percentile interval"
_WILSON = "share of items; Wilson interval"
_MEDIAN = "median over requests; distribution-free interval of two order statistics"

_RATIOS = {"lm": ("nll_nats", "kl_nats", "top1_agreement"), "tool_use": ("argument_accuracy",), "speed": ()}
_RATES = {"lm": (), "tool_use": ("call_validity", "tool_name_accuracy", "right_call"), "speed": ()}
_UNITS = {"nll_nats": "nats/token", "kl_nats": "nats/token", "perplexity": "1", "tokens_per_second": "tokens/s", "ttft_ms": "ms"}


def measure(items: Sequence[ItemEvaluated]) -> tuple[Measurement, ...]:
    """All measurements that follow from `items`, one suite and arm after the other in order of their first item."""
    arms: dict[tuple[str, str], list[ItemEvaluated]] = {}
    for item in items:
        arms.setdefault((item.suite, item.arm), []).append(item)
    return tuple(measurement for group in arms.values() for measurement in _of_arm(group))


def _of_arm(items: Sequence[ItemEvaluated]) -> Iterable[Measurement]:
    suite = items[0].suite
    for metric in _RATIOS[suite]:
        yield from _ratios(metric, items)
    for metric in _RATES[suite]:
        yield _rate(metric, items)
    if suite == "speed":
        yield _median("tokens_per_second", items, "decode_ns", lambda score: score.count * 1e9 / score.total)
        yield _median("ttft_ms", items, "ttft_ns", lambda score: score.total / 1e6)


def _ratios(metric: str, items: Sequence[ItemEvaluated]) -> Iterable[Measurement]:
    """The mean of `metric` per piece, and the perplexity with it; nothing for an arm that does not score `metric`."""
    unscored = [item for item in items if item.outcome in {"too_long", "not_finite"}]
    scores = _scores(metric, items)
    if not scores and not unscored:
        return
    with_perplexity = ("perplexity",) if metric == "nll_nats" else ()
    problem = _problem(items, unscored, scores)
    if problem is not None:
        for name in (metric, *with_perplexity):
            yield _measurement(name, items, None, None, reason=problem)
        return
    pairs = [(score.total, score.count) for score in scores if score.count]
    value = ratio(pairs)
    interval = ratio_interval(pairs, _seed_text(metric, items))
    yield _measurement(metric, items, value, interval, n=len(pairs), method=_BOOTSTRAP)
    for name in with_perplexity:
        ends = None if interval is None else (_exp(interval[0]), _exp(interval[1]))
        yield _measurement(name, items, _exp(value), ends, n=len(pairs), method=f"exp of the mean; {_BOOTSTRAP}")


def _problem(items: Sequence[ItemEvaluated], unscored: Sequence[ItemEvaluated], scores: Sequence[Score]) -> str | None:
    if unscored and items[0].suite == "lm":
        outcomes = ", ".join(sorted({item.outcome for item in unscored}))
        return f"{len(unscored)} of {len(items)} items have no score: {outcomes}"
    if not any(score.count for score in scores):
        return f"none of {len(items)} items has a piece to score"
    return None


def _rate(metric: str, items: Sequence[ItemEvaluated]) -> Measurement:
    """The share of items that succeed; an item without the score counts as a failure."""
    k = sum(1 for score in _scores(metric, items) if score.total == score.count)
    n = len(items)
    return _measurement(metric, items, k / n, wilson_interval(k, n), k=k, method=_WILSON)


def _median(metric: str, items: Sequence[ItemEvaluated], name: str, value_of: Callable[[Score], float]) -> Measurement:
    values = [value_of(score) for score in _scores(name, items) if score.count and score.total > 0]
    if not values:
        return _measurement(metric, items, None, None, n=0, reason=f"none of {len(items)} requests was timed to its second token")
    return _measurement(metric, items, median(values), median_interval(values), n=len(values), method=_MEDIAN)


def _measurement(
    metric: str,
    items: Sequence[ItemEvaluated],
    value: float | None,
    interval: tuple[float, float] | None,
    *,
    n: int | None = None,
    k: int | None = None,
    method: str = "",
    reason: str = "",
) -> Measurement:
    subjects = {item.subject for item in items}
    return Measurement(
        metric=metric,
        suite=items[0].suite,
        slice=items[0].arm,
        value=value,
        n=len(items) if n is None else n,
        k=k,
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        unit=_UNITS.get(metric, "share"),
        method=method,
        reason=reason,
        subject=subjects.pop() if len(subjects) == 1 else "",
    )


def _scores(name: str, items: Sequence[ItemEvaluated]) -> list[Score]:
    return [score for item in items for score in item.scores if score.name == name]


def _seed_text(metric: str, items: Sequence[ItemEvaluated]) -> str:
    return "\n".join([metric, items[0].suite, items[0].arm, *sorted(item.item_id for item in items)])


def _exp(nats: float) -> float:
    """exp, or the largest float where it would overflow."""
    return math.exp(min(nats, 709.0))
