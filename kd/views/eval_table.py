"""What an evaluation measured, and the items behind it; nothing is computed that the records do not say.

Deltas, adjusted p values and noise floors against a baseline are shown once there are records of them; until then runs are compared item
by item (`flips`) and row by row (`kd.views.comparison`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import field, frozen

from kd.evaluation.config import EvaluationConfig
from kd.evaluation.events import EvaluationPlanned, EvaluationStarted, ItemEvaluated, MeasurementRecorded, SuitePlan
from kd.evidence import GateResult, Measurement
from kd.governance.events import GateEvaluated
from kd.views.run_streams import is_of_run
from kd.views.shared_list import SharedList
from ledger.record import Record

__all__ = ["EvalTable", "Flip", "Flips", "Item", "MetricRow", "apply_to_eval_table", "flips", "initial_eval_table", "is_right"]


@frozen
class Item:
    """One arm's answer to one item, and its record."""

    position: int
    event: ItemEvaluated

    @property
    def is_error(self) -> bool:
        """The item was not answered or scored as it should: an error, which is not the same as a wrong answer."""
        return self.event.outcome in {"too_long", "not_finite"}


@frozen
class MetricRow:
    """One measurement, with the gates that rest on it."""

    position: int
    measurement: Measurement
    gates: tuple[GateResult, ...]


@frozen
class EvalTable:
    """The evaluation of `run` so far."""

    run: str
    config: EvaluationConfig | None = None
    suites: tuple[SuitePlan, ...] = ()
    items: SharedList[Item] = field(factory=SharedList)
    measurements: SharedList[tuple[int, Measurement]] = field(factory=SharedList)
    """Each with the position of its record."""
    gates: SharedList[GateResult] = field(factory=SharedList)

    @property
    def num_planned(self) -> int:
        """Answers that the plan asks for."""
        return sum(len(suite.arms) * len(suite.item_ids) for suite in self.suites)

    @property
    def num_errors(self) -> int:
        return sum(item.is_error for item in self.items)

    def rows(self) -> tuple[MetricRow, ...]:
        """All measurements in the order of their records."""
        gates: dict[tuple[str, str, str], list[GateResult]] = {}
        for result in self.gates:
            for used in result.evidence:
                if used.slice != result.gate.relative_to:
                    gates.setdefault((used.suite, used.metric, used.slice), []).append(result)
        return tuple(
            MetricRow(position, found, tuple(gates.get((found.suite, found.metric, found.slice), ())))
            for position, found in self.measurements
        )

    def items_of(self, suite: str, arm: str) -> tuple[Item, ...]:
        """The answers of one arm, in the order of their records."""
        return tuple(item for item in self.items if (item.event.suite, item.event.arm) == (suite, arm))


@frozen
class Flip:
    """An item that was answered rightly on one side only; `change` is what became of it from the first side to the second."""

    item_id: str
    change: Literal["better", "worse"]
    before: Item
    after: Item


@frozen
class Flips:
    """Two sets of answers to the same items."""

    flips: tuple[Flip, ...]
    num_same: int
    num_errors: int
    """Items with an error on either side; they are neither better nor worse."""
    num_unpaired: int
    """Items that only one side has."""

    @property
    def num_better(self) -> int:
        return sum(flip.change == "better" for flip in self.flips)

    @property
    def num_worse(self) -> int:
        return sum(flip.change == "worse" for flip in self.flips)


def initial_eval_table(run: str) -> EvalTable:
    """Nothing is evaluated."""
    return EvalTable(run)


def apply_to_eval_table(state: EvalTable, record: Record) -> EvalTable:
    """The table after `record`; records of other runs change nothing."""
    event = record.event
    if not isinstance(event, _EVENTS) or not is_of_run(record.stream, state.run):
        return state
    config, suites, items, measurements, gates = state.config, state.suites, state.items, state.measurements, state.gates
    match event:
        case ItemEvaluated():
            items = items.append(Item(record.position, event))
        case MeasurementRecorded(measurement=measurement):
            measurements = measurements.append((record.position, measurement))
        case EvaluationStarted():
            config = event.config
        case EvaluationPlanned():
            suites = event.suites
        case GateEvaluated(result=result):
            gates = gates.append(result)
    return EvalTable(state.run, config, suites, items, measurements, gates)


def is_right(item: Item, metric: str) -> bool | None:
    """Whether an answer has every point of a score that counts successes; None if it has no such score."""
    score = next((score for score in item.event.scores if score.name == metric), None)
    return None if score is None else score.total == score.count


def flips(before: Iterable[Item], after: Iterable[Item], metric: str) -> Flips:
    """How `after` differs from `before` in `metric`, item by item; both are of one suite."""
    first = {item.event.item_id: item for item in before}
    second = {item.event.item_id: item for item in after}
    found, num_same, num_errors = [], 0, 0
    for item_id, old in first.items():
        new = second.get(item_id)
        if new is None:
            continue
        was, is_ = is_right(old, metric), is_right(new, metric)
        if old.is_error or new.is_error or was is None or is_ is None:
            num_errors += 1
        elif was == is_:
            num_same += 1
        else:
            found.append(Flip(item_id, "better" if is_ else "worse", old, new))
    return Flips(tuple(found), num_same, num_errors, len(first.keys() ^ second.keys()))


_EVENTS = (ItemEvaluated, MeasurementRecorded, EvaluationStarted, EvaluationPlanned, GateEvaluated)
