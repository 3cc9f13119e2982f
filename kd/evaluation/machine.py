"""The evaluation stage as a pure machine: plan, self-test, item after item, measure, seal.

An item is evaluated once: what is recorded is never asked for again. Measurements are accepted only if they follow from the items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import assert_never

from attrs import evolve as replace

from kd.evaluation.commands import (
    Command,
    CompleteEvaluation,
    FailEvaluation,
    PlanEvaluation,
    RecordItem,
    RecordMeasurements,
    RecordSelfTest,
    RetryEvaluation,
    StartEvaluation,
)
from kd.evaluation.config import SuiteName
from kd.evaluation.events import (
    EvaluationCompleted,
    EvaluationFailed,
    EvaluationPlanned,
    EvaluationRetried,
    EvaluationStarted,
    ItemEvaluated,
    MeasurementRecorded,
    ScorersSelfTested,
    SuitePlan,
)
from kd.evaluation.measures import measure
from kd.evaluation.states import (
    Checking,
    CheckScorers,
    Completed,
    EvaluateItems,
    Evaluating,
    Failed,
    Idle,
    Job,
    Measure,
    Measuring,
    Plan,
    Planning,
    Seal,
    Sealing,
    State,
    Work,
)
from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Outcome, Progress, Stage
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["DECIDER", "STAGE", "Event", "decide", "evolve", "item_order", "pending"]

Event = (
    EvaluationStarted
    | EvaluationPlanned
    | ScorersSelfTested
    | ItemEvaluated
    | MeasurementRecorded
    | EvaluationCompleted
    | EvaluationFailed
    | EvaluationRetried
)


def item_order(item_id: str) -> bytes:
    """Sort key of items: SHA-256 of the id, so that no order of the data set favours an item."""
    return hashlib.sha256(item_id.encode()).digest()


def decide(command: Command, state: State) -> tuple[Event, ...]:
    """The events that `command` causes in `state`."""
    match command, state:
        case StartEvaluation(), Idle():
            return (EvaluationStarted(config=command.config, inputs=command.inputs, seed=command.seed),)
        case PlanEvaluation(), Planning():
            _require(_plan_problem(command.suites, state.job), command, state)
            return (EvaluationPlanned(suites=command.suites),)
        case RecordSelfTest(), Checking():
            return (ScorersSelfTested(num_checks=command.num_checks),)
        case RecordItem(), Evaluating():
            _require(_item_problem(command.item, state), command, state)
            return (command.item,)
        case RecordMeasurements(), Measuring():
            is_derived = command.measurements == measure(state.items)
            _require(None if is_derived else "the measurements do not follow from the recorded items", command, state)
            return tuple(MeasurementRecorded(measurement=measurement) for measurement in command.measurements)
        case CompleteEvaluation(), Sealing():
            return (EvaluationCompleted(outputs=command.outputs),)
        case FailEvaluation(), Planning() | Checking() | Evaluating() | Measuring() | Sealing():
            return (EvaluationFailed(step=command.step, reason=command.reason, is_retryable=command.is_retryable),)
        case RetryEvaluation(), Failed(is_retryable=True):
            return (EvaluationRetried(),)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} is not possible while {type(state).__name__}")


def evolve(state: State, event: Event) -> State:
    """What is so after `event`."""
    match event, state:
        case EvaluationStarted(), _:
            return Planning(job=Job(config=event.config, inputs=event.inputs, seed=event.seed))
        case EvaluationPlanned(), Planning():
            return Checking(job=state.job, suites=event.suites)
        case ScorersSelfTested(), Checking():
            return _after_item(Evaluating(job=state.job, suites=state.suites))
        case ItemEvaluated(), Evaluating():
            return _after_item(replace(state, items=(*state.items, event)))
        case MeasurementRecorded(), Measuring():
            return Sealing(job=state.job, measurements=(event.measurement,))
        case MeasurementRecorded(), Sealing():
            return replace(state, measurements=(*state.measurements, event.measurement))
        case EvaluationCompleted(), Sealing():
            return Completed(outputs=event.outputs, measurements=state.measurements)
        case EvaluationFailed(), Planning() | Checking() | Evaluating() | Measuring() | Sealing():
            return Failed(step=event.step, reason=event.reason, is_retryable=event.is_retryable, before=state)
        case EvaluationRetried(), Failed():
            return state.before
        case _:
            return state


def pending(state: State) -> Work | None:
    """The work that `state` asks for."""
    match state:
        case Planning():
            return Plan(job=state.job)
        case Checking():
            return CheckScorers(suites=state.suites, inputs=state.job.inputs)
        case Evaluating():
            suite, arm, open_ids = next(_open(state))
            return EvaluateItems(job=state.job, suite=suite, arm=arm, item_ids=open_ids)
        case Measuring():
            return Measure(items=state.items)
        case Sealing():
            return Seal(measurements=state.measurements)
        case Idle() | Completed() | Failed():
            return None
        case _:
            assert_never(state)


def _require(problem: str | None, command: Command, state: State) -> None:
    if problem is not None:
        raise CommandRejectedError(command, state, problem)


def _plan_problem(suites: tuple[SuitePlan, ...], job: Job) -> str | None:
    if tuple(plan.suite for plan in suites) != job.config.suites:
        return f"the plan has the suites {[plan.suite for plan in suites]}, expected {list(job.config.suites)}"
    for plan in suites:
        if not plan.item_ids or list(plan.item_ids) != sorted(set(plan.item_ids), key=item_order):
            return f"the items of suite {plan.suite} must be at least one, distinct and in order of SHA-256"
    return None


def _item_problem(item: ItemEvaluated, state: Evaluating) -> str | None:
    place = f"item {item.item_id} of {item.suite}/{item.arm}"
    if not any(plan.suite == item.suite and item.arm in plan.arms and item.item_id in plan.item_ids for plan in state.suites):
        return f"{place} is not planned"
    if any((done.suite, done.arm, done.item_id) == (item.suite, item.arm, item.item_id) for done in state.items):
        return f"{place} was already evaluated"
    return None


def _open(state: Evaluating) -> Iterator[tuple[SuiteName, str, tuple[str, ...]]]:
    """The arms that still have items to answer, with those items."""
    done = {(item.suite, item.arm, item.item_id) for item in state.items}
    for plan in state.suites:
        for arm in plan.arms:
            open_ids = tuple(item_id for item_id in plan.item_ids if (plan.suite, arm, item_id) not in done)
            if open_ids:
                yield plan.suite, arm, open_ids


def _after_item(state: Evaluating) -> Evaluating | Measuring:
    if len(state.items) < _num_planned(state):
        return state
    return Measuring(job=state.job, suites=state.suites, items=state.items)


def _num_planned(state: Evaluating) -> int:
    return sum(len(plan.arms) * len(plan.item_ids) for plan in state.suites)


def _outcome(state: State) -> Outcome | None:
    match state:
        case Completed():
            return StageCompleted(outputs=state.outputs)
        case Failed():
            return StageFailed(step=state.step, reason=state.reason, is_retryable=state.is_retryable)
        case _:
            return None


def _progress(state: State) -> Progress | None:
    if not isinstance(state, Evaluating):
        return None
    return Progress(done=len(state.items), total=_num_planned(state), unit="items")


DECIDER: Decider[Command, State, Event, Work] = Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending)

STAGE = Stage(
    name="evaluation",
    decider=DECIDER,
    start=lambda config, inputs, seed: StartEvaluation(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailEvaluation(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryEvaluation,
    outcome=_outcome,
    progress=_progress,
    executor="kd.evaluation.executor:execute",
)
