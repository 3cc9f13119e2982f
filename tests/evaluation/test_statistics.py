"""Intervals."""

from __future__ import annotations

import math

import pytest

from kd.evaluation.statistics import Z, median, median_interval, ratio, ratio_interval, wilson_interval


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(9, 10, 0.595850, 0.982124), (35, 35, 0.901099, 1.0), (0, 16, 0.0, 0.193608), (1, 2, 0.094531, 0.905469)]
)
def test_wilson_gives_the_published_values(k: int, n: int, low: float, high: float) -> None:
    """The interval of a rate is Wilson's, with ends inside 0 and 1 and exact where all or none succeeded."""
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=2e-6)


def test_all_of_n_reach_the_sample_sizes_that_bounds_need() -> None:
    """35 successes of 35 are the fewest whose lower bound reaches 0.90, and 73 of 73 reach 0.95."""
    assert wilson_interval(35, 35)[0] >= 0.90 > wilson_interval(34, 34)[0]
    assert wilson_interval(73, 73)[0] >= 0.95 > wilson_interval(72, 72)[0]


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_an_impossible_rate_has_no_interval(k: int, n: int) -> None:
    """A rate of nothing, or of more than all, is refused."""
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(k, n)


def test_a_wilson_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Over rates from 0.05 to 0.95 the exact chance that the interval of 40 trials holds the truth is 94 to 96 percent on average."""
    rates = [percent / 100 for percent in range(5, 96)]
    holding = [
        math.comb(40, k) * rate**k * (1 - rate) ** (40 - k)
        for rate in rates
        for k in range(41)
        if wilson_interval(k, 40)[0] <= rate <= wilson_interval(k, 40)[1]
    ]
    assert 0.94 <= math.fsum(holding) / len(rates) <= 0.96


def test_a_ratio_weighs_clusters_by_their_size() -> None:
    """The mean per piece is the sum of totals over the sum of counts, not the mean of the clusters' means."""
    assert ratio([(10.0, 1), (0.0, 9)]) == 1.0


def test_a_ratio_interval_depends_on_its_seed_text_alone() -> None:
    """The same clusters and text give the same interval in every process; another text gives another one."""
    pairs = [(float(value % 7), 3 + value % 2) for value in range(24)]
    first = ratio_interval(pairs, "a")
    assert first == (0.5542168674698795, 1.0240963855421688)
    assert first != ratio_interval(pairs, "b")
    assert first is not None
    assert first[0] < ratio(pairs) < first[1]


def test_one_cluster_has_no_interval() -> None:
    """A single cluster says nothing of the spread between clusters."""
    assert ratio_interval([(1.0, 2)], "a") is None


def test_a_median_interval_is_made_of_order_statistics() -> None:
    """For 11 values the interval is the 2nd to the 10th, which hold the median with at least 95 percent."""
    assert median_interval([float(value) for value in range(11, 0, -1)]) == (2.0, 10.0)
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0]) == 2.5


def test_five_values_are_too_few_for_a_median_interval() -> None:
    """Below six values no two order statistics reach 95 percent."""
    assert median_interval([1.0] * 5) is None
    assert median_interval([1.0] * 6) == (1.0, 1.0)


def test_z_is_the_quantile_of_95_percent() -> None:
    """Z is the two-sided 95 percent point of the normal distribution."""
    assert pytest.approx(1.959964, abs=1e-6) == Z
