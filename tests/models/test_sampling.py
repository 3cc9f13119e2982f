"""Choosing tokens: mask, temperature, top-k, top-p in this order, one seeded number a position."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kd.models.sampling import choose_token, uniform_at
from kd.models.teacher import Sampling

PROBS = np.array([0.1, 0.4, 0.4, 0.05, 0.05])
LOG_PROBS = np.log(PROBS)


def drawn(sampling: Sampling, allowed: np.ndarray | None = None, count: int = 4000) -> Counter[int]:
    return Counter(choose_token(LOG_PROBS, allowed, sampling, "key", position) for position in range(count))


def test_greedy_takes_the_lowest_of_the_most_probable_ids() -> None:
    """At temperature 0 ties go to the lowest id, and the mask comes first."""
    greedy = Sampling(temperature=0.0)
    assert choose_token(LOG_PROBS, None, greedy, "key", 0) == 1
    assert choose_token(LOG_PROBS, np.array([True, False, False, True, True]), greedy, "key", 0) == 0


def test_draws_follow_the_distribution() -> None:
    """Frequencies over many positions are the probabilities, within four standard errors."""
    counts = drawn(Sampling(temperature=1.0, top_p=1.0))
    for token, prob in enumerate(PROBS):
        assert abs(counts[token] / 4000 - prob) <= 4 * np.sqrt(prob * (1 - prob) / 4000)


def test_a_low_temperature_sharpens() -> None:
    """At temperature ½ probabilities are squared and renormalised."""
    counts = drawn(Sampling(temperature=0.5, top_p=1.0))
    expected = PROBS**2 / (PROBS**2).sum()
    assert abs(counts[0] / 4000 - expected[0]) <= 4 * np.sqrt(expected[0] / 4000)


@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        (Sampling(top_k=1, top_p=1.0), {1}),
        (Sampling(top_k=2, top_p=1.0), {1, 2}),
        (Sampling(top_p=0.4), {1}),
        (Sampling(top_p=0.5), {1, 2}),
        (Sampling(top_p=0.85), {0, 1, 2}),
    ],
)
def test_top_k_and_top_p_keep_the_most_probable(sampling: Sampling, tokens: set[int]) -> None:
    """Top-k keeps k ids, top-p the fewest that reach p."""
    assert set(drawn(sampling)) == tokens


def test_masked_tokens_are_never_drawn() -> None:
    """What the grammar forbids has no chance, whatever its probability."""
    allowed = np.array([True, False, False, True, False])
    assert set(drawn(Sampling(top_p=1.0), allowed)) == {0, 3}


def test_a_number_depends_on_seed_request_and_position() -> None:
    """Each of the three changes the number; together they fix it."""
    numbers = {uniform_at(seed, key, position) for seed in (0, 1) for key in "ab" for position in range(5)}
    assert len(numbers) == 20
    assert uniform_at(1, "a", 3) == uniform_at(1, "a", 3)


def test_a_flat_distribution_keeps_as_many_ids_as_p_asks_for() -> None:
    """Top-p looks beyond the first few hundred ids where those do not hold enough mass."""
    flat = np.full(3000, -np.log(3000.0))
    tokens = {choose_token(flat, None, Sampling(top_p=0.9), "key", position) for position in range(3000)}
    assert max(tokens) > 2500
    assert max(tokens) < 2701
