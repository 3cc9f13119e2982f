"""The evaluation machine: given, when, then."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.evaluation.commands import (
    CompleteEvaluation,
    FailEvaluation,
    PlanEvaluation,
    RecordItem,
    RecordMeasurements,
    RecordSelfTest,
    RetryEvaluation,
    StartEvaluation,
)
from kd.evaluation.events import (
    ENTRIES,
    EvaluationCompleted,
    EvaluationFailed,
    EvaluationPlanned,
    EvaluationRetried,
    ItemEvaluated,
    MeasurementRecorded,
)
from kd.evaluation.machine import DECIDER, STAGE
from kd.evaluation.measures import measure
from kd.evaluation.states import CheckScorers, Completed, EvaluateItems, Failed, Measure, Plan, Seal
from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Progress
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.registry import Registry
from ledger.testing import decide_given
from tests.evaluation.examples import CONFIG, IDS, INPUTS, PLAN, PLANNED, STARTED, TESTED, item, score

ITEMS = tuple(item(item_id, score("right_call", 1.0), arm=arm) for arm in PLAN.arms for item_id in IDS)
RUNNING = (STARTED, PLANNED, TESTED)
MEASURED = tuple(MeasurementRecorded(measurement=measurement) for measurement in measure(ITEMS))
DONE = (*RUNNING, *ITEMS, *MEASURED, EvaluationCompleted(outputs=INPUTS))


def test_a_start_stores_all_that_the_stage_needs() -> None:
    """The first event holds configuration, inputs and seed, so the stream alone is enough to go on."""
    assert decide_given(DECIDER, (), StartEvaluation(config=CONFIG, inputs=INPUTS, seed=7)) == (STARTED,)


def test_work_follows_the_states_in_order() -> None:
    """Plan, self-test, items, measure, seal, and then nothing is pending."""
    kinds = [type(DECIDER.pending(fold(DECIDER, DONE[:place]))) for place in (1, 2, 3, 9, 10, len(DONE))]
    assert kinds == [Plan, CheckScorers, EvaluateItems, Measure, Seal, type(None)]


def test_only_what_is_open_is_asked_for() -> None:
    """After a crash the work names the arm that is unfinished and its items without those recorded."""
    work = DECIDER.pending(fold(DECIDER, (*RUNNING, ITEMS[1])))
    assert isinstance(work, EvaluateItems)
    assert (work.arm, work.item_ids) == ("free", (IDS[0], IDS[2]))


def test_arms_follow_each_other() -> None:
    """When the first arm has answered all items the second is asked."""
    work = DECIDER.pending(fold(DECIDER, (*RUNNING, *ITEMS[:3])))
    assert isinstance(work, EvaluateItems)
    assert (work.arm, work.item_ids) == ("constrained", IDS)


def test_an_item_is_recorded_once() -> None:
    """A second answer of the same arm to the same item is refused."""
    assert decide_given(DECIDER, RUNNING, RecordItem(item=ITEMS[0])) == (ITEMS[0],)
    with pytest.raises(CommandRejectedError, match="already evaluated"):
        decide_given(DECIDER, (*RUNNING, ITEMS[0]), RecordItem(item=ITEMS[0]))


@pytest.mark.parametrize("stray", [item("r-9"), item("r-1", arm="other"), item("r-1", suite="lm")])
def test_an_item_that_is_not_planned_is_refused(stray: ItemEvaluated) -> None:
    """Only planned items of planned arms may be recorded."""
    with pytest.raises(CommandRejectedError, match="not planned"):
        decide_given(DECIDER, RUNNING, RecordItem(item=stray))


@pytest.mark.parametrize(
    "plan",
    [
        (),
        (replace(PLAN, item_ids=()),),
        (replace(PLAN, item_ids=IDS[::-1]),),
        (replace(PLAN, item_ids=(IDS[0], IDS[0])),),
        (replace(PLAN, suite="lm"),),
    ],
)
def test_a_plan_must_fit_the_configuration(plan: tuple[object, ...]) -> None:
    """A plan has the configured suites, each with distinct items in the order of their digests."""
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, (STARTED,), PlanEvaluation(suites=plan))  # type: ignore[arg-type]
    assert decide_given(DECIDER, (STARTED,), PlanEvaluation(suites=(PLAN,))) == (EvaluationPlanned(suites=(PLAN,)),)


def test_measurements_must_follow_from_the_items() -> None:
    """A number that nobody can derive from the recorded items is refused."""
    given = (*RUNNING, *ITEMS)
    right = measure(ITEMS)
    assert decide_given(DECIDER, given, RecordMeasurements(measurements=right)) == MEASURED
    with pytest.raises(CommandRejectedError, match="do not follow"):
        decide_given(DECIDER, given, RecordMeasurements(measurements=(replace(right[0], value=0.99), *right[1:])))


def test_nothing_is_measured_while_items_are_open() -> None:
    """Measuring before the last item is refused."""
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, (*RUNNING, *ITEMS[:-1]), RecordMeasurements(measurements=measure(ITEMS[:-1])))


def test_a_retry_goes_on_where_the_failure_stopped() -> None:
    """A retryable failure keeps every recorded item; one that is not retryable stays."""
    failed = (*RUNNING, ITEMS[0], EvaluationFailed(step="lm", reason="no memory", is_retryable=True))
    assert decide_given(DECIDER, failed, RetryEvaluation()) == (EvaluationRetried(),)
    assert fold(DECIDER, (*failed, EvaluationRetried())) == fold(DECIDER, (*RUNNING, ITEMS[0]))
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, (*RUNNING, EvaluationFailed(step="lm", reason="broken", is_retryable=False)), RetryEvaluation())


@pytest.mark.parametrize("num_events", range(1, 10))
def test_every_working_state_can_fail(num_events: int) -> None:
    """A failure is possible at any moment of the work, and is the stage's outcome."""
    command = FailEvaluation(step="lm", reason="no memory", is_retryable=True)
    events = decide_given(DECIDER, DONE[:num_events], command)
    state = fold(DECIDER, (*DONE[:num_events], *events))
    assert isinstance(state, Failed)
    assert STAGE.outcome(state) == StageFailed(step="lm", reason="no memory", is_retryable=True)


def test_a_completed_stage_hands_over_and_takes_no_command() -> None:
    """After the end the outputs are the outcome, and every further command is refused."""
    state = fold(DECIDER, DONE)
    assert isinstance(state, Completed)
    assert STAGE.outcome(state) == StageCompleted(outputs=INPUTS)
    assert state.measurements == measure(ITEMS)
    for command in (CompleteEvaluation(outputs=()), RecordSelfTest(num_checks=1), FailEvaluation(step="x", reason="y", is_retryable=True)):
        with pytest.raises(CommandRejectedError):
            DECIDER.decide(command, state)


def test_progress_counts_items_of_all_arms() -> None:
    """While items are evaluated the stage says how many of how many are done, and else nothing."""
    assert STAGE.progress(fold(DECIDER, (*RUNNING, *ITEMS[:2]))) == Progress(done=2, total=6, unit="items")
    assert STAGE.progress(fold(DECIDER, DONE)) is None


def test_the_events_can_be_registered() -> None:
    """Every event of the stage can be stored and read back."""
    assert len(Registry(ENTRIES).entries) == 8
