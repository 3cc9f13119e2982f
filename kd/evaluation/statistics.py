"""Intervals for rates, ratios and medians, from the standard library alone, so that an auditor can compute them again anywhere.

Every interval is for 95 % confidence, two-sided; nothing is rounded before a decision.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

__all__ = ["NUM_RESAMPLES", "Z", "median", "median_interval", "ratio", "ratio_interval", "wilson_interval"]

Z = 1.959964
"""Standard normal quantile of 0.975."""

NUM_RESAMPLES = 2000
"""Resamples of a bootstrap interval."""


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's score interval for a rate of `k` successes in `n` trials, n ≥ 1."""
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"A rate of {k} in {n} has no interval: give 0 <= k <= n with n >= 1.")
    share = k / n
    scale = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return (0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half))


def ratio(pairs: Sequence[tuple[float, int]]) -> float:
    """Sum of the first members over the sum of the second: the mean per piece over clusters of unequal size."""
    return math.fsum(total for total, _ in pairs) / sum(count for _, count in pairs)


def ratio_interval(pairs: Sequence[tuple[float, int]], seed_text: str) -> tuple[float, float] | None:
    """Percentile interval of `ratio` over resampled clusters, or None with fewer than two clusters.

    The resamples are drawn from `seed_text` alone: cluster ⌊u · G⌋ with u from Python's Mersenne Twister.
    """
    num_clusters = len(pairs)
    if num_clusters < 2:
        return None
    draw = random.Random(hashlib.sha256(seed_text.encode()).digest()).random  # noqa: S311 - an interval, not a secret
    ratios = sorted(ratio([pairs[int(draw() * num_clusters)] for _ in range(num_clusters)]) for _ in range(NUM_RESAMPLES))
    return _nearest_rank(ratios, 0.025), _nearest_rank(ratios, 0.975)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Two order statistics that hold the median with at least 95 % confidence whatever the distribution; None if n is too small (n < 6)."""
    ordered = sorted(values)
    n = len(ordered)
    rank = -1
    tail = 0.0
    while rank + 1 < n // 2:
        tail += math.comb(n, rank + 1) * 0.5**n
        if tail > 0.025:
            break
        rank += 1
    return None if rank < 0 else (ordered[rank], ordered[n - 1 - rank])


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
