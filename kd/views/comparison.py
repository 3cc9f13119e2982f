"""Runs side by side: what differs in their configs, and their measurements with the reasons why some may not be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, field, frozen

from kd.evaluation.events import SuitePlan
from kd.evidence import Measurement
from kd.run.config import RunConfig
from kd.run.events import RunPlanned
from kd.views.eval_table import EvalTable, apply_to_eval_table
from kd.views.run_streams import is_of_run
from ledger.record import Record

__all__ = [
    "ABSENT",
    "Absent",
    "ComparedRow",
    "ConfigRow",
    "RunFacts",
    "apply_to_facts",
    "compare_measurements",
    "config_rows",
    "initial_facts",
]


class Absent:
    """The value of a key that a config does not have."""

    def __repr__(self) -> str:
        return "–"


ABSENT: Final = Absent()

_TIMED_SUITES = ("speed",)
"""Suites whose numbers depend on the machine."""


@frozen
class RunFacts:
    """What of `run` can be held against other runs."""

    run: str
    config: RunConfig | None = None
    code_digest: str = ""
    environment: Mapping[str, str] = field(factory=dict)
    evaluation: EvalTable = field(default=EvalTable(""))


@frozen
class ConfigRow:
    """A key of the recorded configs, with its value in each run; ABSENT where a config does not have it."""

    path: str
    values: tuple[object, ...]
    is_equal: bool


@frozen
class ComparedRow:
    """A measurement in each run; None where a run has none."""

    suite: str
    metric: str
    slice: str
    measurements: tuple[Measurement | None, ...]
    reasons: tuple[str, ...]
    """Why the numbers may not be compared; empty if they may."""


def initial_facts(run: str) -> RunFacts:
    """Nothing is known of the run."""
    return RunFacts(run, evaluation=EvalTable(run))


def apply_to_facts(state: RunFacts, record: Record) -> RunFacts:
    """The facts after `record`; records of other runs change nothing."""
    event = record.event
    if isinstance(event, RunPlanned) and is_of_run(record.stream, state.run):
        return RunFacts(state.run, event.config, event.code_digest, event.environment, state.evaluation)
    evaluation = apply_to_eval_table(state.evaluation, record)
    if evaluation is state.evaluation:
        return state
    return RunFacts(state.run, state.config, state.code_digest, state.environment, evaluation)


def config_rows(configs: Sequence[RunConfig | None], *, is_all: bool = False) -> tuple[ConfigRow, ...]:
    """The keys whose values differ between the configs, or all keys, sorted."""
    flat = [{} if config is None else dict(_leaves("", asdict(config))) for config in configs]
    paths = sorted({path for leaves in flat for path in leaves})
    rows = (_config_row(path, tuple(leaves.get(path, ABSENT) for leaves in flat)) for path in paths)
    return tuple(row for row in rows if is_all or not row.is_equal)


def compare_measurements(runs: Sequence[RunFacts]) -> tuple[ComparedRow, ...]:
    """All measurements that any of `runs` has, in the order of their first mention."""
    found: dict[tuple[str, str, str], list[Measurement | None]] = {}
    for index, run in enumerate(runs):
        for _, measurement in run.evaluation.measurements:
            key = measurement.suite, measurement.metric, measurement.slice
            found.setdefault(key, [None] * len(runs))[index] = measurement
    return tuple(ComparedRow(*key, tuple(row), _reasons(key[0], runs, row)) for key, row in found.items())


def _reasons(suite: str, runs: Sequence[RunFacts], row: Sequence[Measurement | None]) -> tuple[str, ...]:
    present = [(run, measurement) for run, measurement in zip(runs, row) if measurement is not None]
    measurements = [measurement for _, measurement in present]
    found = []
    if len(present) < len(runs):
        found.append("not measured in every run")
    if any(measurement.value is None for measurement in measurements):
        found.append("could not be measured in every run")
    if len({measurement.method for measurement in measurements}) > 1:
        found.append("measured by different methods")
    if len({measurement.unit for measurement in measurements}) > 1:
        found.append("in different units")
    if len({_items(run, suite) for run, _ in present}) > 1:
        found.append("on different items")
    if any(_settings(run, suite) != _settings(present[0][0], suite) for run, _ in present):
        found.append("under different settings")
    if suite in _TIMED_SUITES and any(dict(run.environment) != dict(present[0][0].environment) for run, _ in present):
        found.append("on different machines or versions")
    return tuple(found)


def _items(run: RunFacts, suite: str) -> frozenset[str]:
    plan: SuitePlan | None = next((plan for plan in run.evaluation.suites if plan.suite == suite), None)
    return frozenset() if plan is None else frozenset(plan.item_ids)


def _settings(run: RunFacts, suite: str) -> object:
    return getattr(run.evaluation.config, suite, None)


def _config_row(path: str, values: tuple[object, ...]) -> ConfigRow:
    return ConfigRow(path, values, all(type(value) is type(values[0]) and value == values[0] for value in values))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), child)
    elif isinstance(value, tuple | list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            name = item.get("id", index) if isinstance(item, Mapping) else index
            yield from _leaves(f"{path}.{name}", item)
    else:
        yield path, value
