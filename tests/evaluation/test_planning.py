"""Which held-out samples are asked."""

from __future__ import annotations

import pytest

from kd.errors import StageError
from kd.evaluation.config import EvaluationConfig, LmConfig, SpeedConfig, ToolUseConfig
from kd.evaluation.machine import item_order
from kd.evaluation.planning import plan_suites, sample_id_of
from tests.evaluation.samples import make_samples

SAMPLES = make_samples(8)


def test_items_are_the_first_in_the_order_of_their_digests() -> None:
    """Whatever the order of the data set, a smaller suite is the beginning of a larger one."""
    small = EvaluationConfig(suites=("lm", "tool_use"), lm=LmConfig(max_items=3), tool_use=ToolUseConfig(max_items=5))
    lm, tools = plan_suites(SAMPLES[::-1], small)
    whole = tuple(sorted((sample.id for sample in SAMPLES), key=item_order))
    assert (lm.item_ids, tools.item_ids) == (whole[:3], whole[:5])
    assert (lm.arms, tools.arms) == (("student", "untrained", "teacher"), ("free", "constrained"))


def test_requests_go_round_the_samples() -> None:
    """The speed suite makes as many requests as it is told, each naming the sample it asks."""
    (plan,) = plan_suites(SAMPLES, EvaluationConfig(suites=("speed",), speed=SpeedConfig(num_requests=20)))
    assert len(plan.item_ids) == 20
    assert {sample_id_of(item_id) for item_id in plan.item_ids} == {sample.id for sample in SAMPLES}


def test_a_suite_without_items_stops_the_stage() -> None:
    """A suite that could measure nothing is a failure that another try cannot cure."""
    with pytest.raises(StageError, match="suite tool_use") as caught:
        plan_suites((), EvaluationConfig(suites=("tool_use",)))
    assert not caught.value.is_retryable


@pytest.mark.parametrize(
    "make",
    [
        lambda: EvaluationConfig(suites=()),
        lambda: EvaluationConfig(suites=("lm", "lm")),
        lambda: EvaluationConfig(threads=0),
        lambda: LmConfig(max_items=801),
        lambda: ToolUseConfig(max_new_tokens=0),
        lambda: SpeedConfig(num_requests=10),
    ],
)
def test_impossible_settings_say_what_was_expected(make: object) -> None:
    """A setting out of range names the key, the value and the range."""
    with pytest.raises(ValueError, match="expected"):
        make()  # type: ignore[operator]
