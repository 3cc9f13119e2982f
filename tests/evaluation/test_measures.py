"""Measurements as a function of items."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from kd.evaluation.events import ItemEvaluated
from kd.evaluation.measures import measure
from kd.evidence import Measurement
from tests.evaluation.examples import item, score


def named(items: list[ItemEvaluated], metric: str) -> Measurement:
    return next(measurement for measurement in measure(items) if measurement.metric == metric)


def test_perplexity_is_the_exponential_of_nats_per_token() -> None:
    """The likelihood is summed over all tokens before it is divided, and perplexity is its exponential."""
    items = [item("r-1", score("nll_nats", 6.0, 2), suite="lm"), item("r-2", score("nll_nats", 3.0, 4), suite="lm")]
    assert named(items, "nll_nats").value == 1.5
    assert named(items, "perplexity").value == pytest.approx(math.exp(1.5))
    assert named(items, "nll_nats").n == 2
    assert named(items, "nll_nats").unit == "nats/token"


def test_an_arm_has_only_the_metrics_that_it_scores() -> None:
    """The teacher's arm has a likelihood and no divergence from itself."""
    items = [item("r-1", score("nll_nats", 6.0, 2), suite="lm", arm="teacher")]
    assert [measurement.metric for measurement in measure(items)] == ["nll_nats", "perplexity"]


@pytest.mark.parametrize("outcome", ["not_finite", "too_long"])
def test_a_likelihood_over_unscored_items_is_not_measured(outcome: str) -> None:
    """One item without a score leaves the likelihood without a value and with a reason, never with a friendlier mean."""
    items = [item("r-1", score("nll_nats", 6.0, 2), suite="lm"), item("r-2", suite="lm", outcome=outcome)]  # type: ignore[arg-type]
    for metric in ("nll_nats", "perplexity", "kl_nats"):
        assert named(items, metric).value is None
        assert outcome in named(items, metric).reason


def test_a_rate_counts_an_item_without_a_score_as_a_failure() -> None:
    """What is missing is a failure: the denominator of a rate is all items of the arm."""
    items = [item("r-1", score("call_validity", 1.0)), item("r-2", score("call_validity", 0.0)), item("r-3", outcome="too_long")]
    found = named(items, "call_validity")
    assert (found.k, found.n, found.value) == (1, 3, 1 / 3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 / 3 < found.high


def test_arguments_are_counted_over_all_gold_arguments() -> None:
    """Argument accuracy is right arguments over gold arguments of all items."""
    items = [item("r-1", score("argument_accuracy", 1.0, 2)), item("r-2", score("argument_accuracy", 1.0, 1))]
    assert named(items, "argument_accuracy").value == pytest.approx(2 / 3)


def test_speed_is_the_median_over_requests() -> None:
    """Tokens per second and time to the first token are medians of raw times, so one slow request moves neither."""
    items = [
        item(f"{place:04d}/r-1", score("ttft_ns", 2e6 * place), score("decode_ns", 1e9, 20 + place), suite="speed", arm="student")
        for place in (1, 2, 3)
    ]
    assert named(items, "tokens_per_second").value == 22.0
    assert named(items, "ttft_ms").value == 4.0


def test_requests_without_a_second_token_have_no_speed() -> None:
    """A decode time of zero is no speed: the measurement is absent with a reason."""
    items = [item("0000/r-1", score("ttft_ns", 1.0), score("decode_ns", 0.0, 0), suite="speed", arm="student")]
    assert named(items, "tokens_per_second").value is None


def test_arms_are_measured_apart_and_name_what_they_measured() -> None:
    """Each measurement carries the slice of its arm and the digest of the artifact that answered."""
    items = [item("r-1", score("right_call", 1.0)), item("r-1", score("right_call", 0.0), arm="constrained", subject="ef" * 32)]
    found = [measurement for measurement in measure(items) if measurement.metric == "right_call"]
    assert [(m.slice, m.value, m.subject) for m in found] == [("free", 1.0, "cd" * 32), ("constrained", 0.0, "ef" * 32)]


def test_measuring_needs_neither_torch_nor_numpy() -> None:
    """An auditor with the base install alone can compute every measurement again."""
    code = (
        "import sys; from kd.evaluation.measures import measure; "
        "assert not {'torch', 'numpy', 'onnxruntime', 'tokenizers'} & set(sys.modules), 'a heavy package was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
