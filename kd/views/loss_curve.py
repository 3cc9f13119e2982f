"""Everything of a run that is drawn as a curve: losses, validation, gradient norm, learning rate, speed, memory, processor, teacher.

`apply` takes constant time; a curve's points name the records they came from.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from kd.generation.events import AttemptEnded
from kd.run.events import ProcessSampled
from kd.training.events import BatchesPlanned, StepCompleted, StepSkipped, ValidationCompleted
from kd.views.pyramid import stored_row
from kd.views.run_streams import is_of_run
from kd.views.series import Series, SeriesTable
from ledger.record import Record

__all__ = ["STEP_AXES", "Curve", "Group", "MetricCurves", "apply_steps_to_curves", "apply_to_curves", "initial_curves"]

Group = Literal["loss", "validation", "kl", "gradient norm", "learning rate", "speed", "memory", "processor", "teacher"]

STEP_AXES = ("time_ms", "num_tokens", "active_seconds")
"""What else than the step a curve of training can be drawn over: time of the record; tokens and seconds of all steps so far."""

_STEP_COLUMNS = ("loss", "gradient_norm", "learning_rate", "tokens_per_second", "peak_bytes")
_FACTS: Mapping[str, tuple[Group, str]] = {
    "loss": ("loss", "nats"),
    "gradient_norm": ("gradient norm", ""),
    "learning_rate": ("learning rate", ""),
    "tokens_per_second": ("speed", "tokens/s"),
    "peak_bytes": ("memory", "bytes"),
    "rss_bytes": ("memory", "bytes"),
    "cpu_fraction": ("processor", "cores"),
    "gpu_fraction": ("processor", "share"),
    "gpu_bytes": ("memory", "bytes"),
    "replies": ("teacher", ""),
    "reply_seconds": ("teacher", "s"),
    "teacher_tokens": ("teacher", "tokens"),
    "loss.kd": ("kl", "nats"),
    "validation.kl_nats": ("kl", "nats"),
}


@frozen(kw_only=True)
class Curve:
    """One recorded quantity."""

    name: str
    """`loss`, `loss.kd`, `validation.kl_nats`, `gradient_norm` …"""
    group: Group
    unit: str
    """Empty for plain numbers."""
    axis: Literal["step", "time_ms"]
    """What x is."""
    series: Series


@frozen
class MetricCurves:
    """All curves of `run` so far."""

    run: str
    steps: SeriesTable | None = None
    """All numbers of a step, one column each."""
    others: Mapping[str, SeriesTable] = field(factory=dict)
    """What has records of its own: one table each, of one column."""
    has_validation_rows: bool | None = None
    """None while the batches are not planned."""

    def names(self) -> tuple[str, ...]:
        """Names of all curves with points, steps first."""
        return (*(() if self.steps is None else self.steps.columns), *self.others)

    def curve(self, name: str) -> Curve | None:
        """The curve called `name`, or None where nothing was recorded."""
        if self.steps is not None and name in self.steps.columns:
            return _curve(name, self.steps.series(name))
        table = self.others.get(name)
        return None if table is None else _curve(name, table.series(name))

    def curves(self) -> tuple[Curve, ...]:
        """All of them, in the order of `names`."""
        return tuple(curve for name in self.names() if (curve := self.curve(name)) is not None)

    def absence(self, name: str) -> str:
        """Why there is no curve called `name`, for people."""
        if name.startswith("validation") and self.has_validation_rows is False:
            return "no validation rows are in use"
        if name.startswith("spend"):
            return "prices are not recorded"
        return "nothing recorded yet"


def initial_curves(run: str) -> MetricCurves:
    """No curve yet."""
    return MetricCurves(run)


def apply_to_curves(state: MetricCurves, record: Record) -> MetricCurves:
    """The curves after `record`; records of other runs change nothing."""
    apply = _APPLY.get(type(record.event))
    if apply is None or not is_of_run(record.stream, state.run):
        return state
    return apply(state, record, record.event)


def _curve(name: str, series: Series) -> Curve:
    group, unit = _FACTS.get(name) or (("validation" if name.startswith("validation.") else "loss"), _unit(name))
    return Curve(name=name, group=group, unit=unit, axis="step" if name in _STEP_COLUMNS or "." in name else "time_ms", series=series)


def _unit(name: str) -> str:
    return "nats" if name.startswith("loss.") or name.endswith("_nats") else "share"


def apply_steps_to_curves(state: MetricCurves, records: Sequence[Record]) -> MetricCurves:
    """The curves after `records`, all of them steps that the run completed: the same as one after the other, faster."""
    table = state.steps
    if table is None:
        first: Any = records[0].event
        table = SeriesTable((*_STEP_COLUMNS, *(f"loss.{part.name}" for part in first.parts)), STEP_AXES)
    num_parts = len(table.columns) - len(_STEP_COLUMNS)
    _, last_step, last_ms, num_tokens, active_seconds = table.last_keys()
    rows: list[float] = []
    for record in records:
        event: Any = record.event
        step, time_ms, tokens, seconds = event.step, record.time_ms, event.num_tokens, event.seconds
        if step > last_step:
            last_step = step
        if time_ms > last_ms:
            last_ms = time_ms
        speed = None
        if seconds > 0:
            speed = tokens / seconds
            active_seconds += seconds
        if tokens > 0:
            num_tokens += tokens
        parts = [part.value_nats if part.num_tokens else None for part in event.parts]
        if len(parts) != num_parts:
            parts = (parts + [None] * num_parts)[:num_parts]
        rows += (record.position, last_step, last_ms, num_tokens, active_seconds)
        rows += stored_row((event.loss_nats, event.grad_norm, event.lr, speed, event.peak_bytes, *parts))
    return MetricCurves(state.run, table.push_rows(array("d", rows)), state.others, state.has_validation_rows)


def _with_step(state: MetricCurves, record: Record, _event: StepCompleted) -> MetricCurves:
    return apply_steps_to_curves(state, (record,))


def _with_skipped_step(state: MetricCurves, record: Record, event: StepSkipped) -> MetricCurves:
    """A step that changed nothing: its loss and norm, which are mostly no numbers, are shown as such."""
    steps = SeriesTable(_STEP_COLUMNS, STEP_AXES) if state.steps is None else state.steps
    values = (_float_of(event.loss_bits), _float_of(event.grad_norm_bits), *[None] * (len(steps.columns) - 2))
    _, _, _, num_tokens, seconds = steps.last_keys()
    steps = steps.push(record.position, event.step, values, (record.time_ms, num_tokens, seconds))
    return MetricCurves(state.run, steps, state.others, state.has_validation_rows)


def _with_validation(state: MetricCurves, record: Record, event: ValidationCompleted) -> MetricCurves:
    values = {f"validation.{metric.name}": metric.value for metric in event.metrics}
    return _with_others(state, record.position, float(event.step), values)


def _with_sample(state: MetricCurves, record: Record, event: ProcessSampled) -> MetricCurves:
    values = {"rss_bytes": float(event.rss_bytes), "cpu_fraction": event.cpu_fraction}
    if event.gpu_fraction is not None:
        values["gpu_fraction"] = event.gpu_fraction
    if event.gpu_bytes is not None:
        values["gpu_bytes"] = float(event.gpu_bytes)
    return _with_others(state, record.position, float(record.time_ms), values)


def _with_attempt(state: MetricCurves, record: Record, event: AttemptEnded) -> MetricCurves:
    if event.outcome != "accepted":
        return state
    values = {"replies": _last(state, "replies") + 1, "reply_seconds": event.seconds}
    if event.usage is not None:
        values["teacher_tokens"] = _last(state, "teacher_tokens") + event.usage.prompt_tokens + event.usage.output_tokens
    return _with_others(state, record.position, float(record.time_ms), values)


def _with_plan(state: MetricCurves, _record: Record, event: BatchesPlanned) -> MetricCurves:
    return MetricCurves(state.run, state.steps, state.others, event.num_val_rows > 0)


def _with_others(state: MetricCurves, position: int, x: float, values: Mapping[str, float]) -> MetricCurves:
    others = dict(state.others)
    for name, value in values.items():
        table = others.get(name)
        others[name] = (SeriesTable((name,)) if table is None else table).push(position, x, (value,))
    return MetricCurves(state.run, state.steps, others, state.has_validation_rows)


def _last(state: MetricCurves, name: str) -> float:
    table = state.others.get(name)
    point = None if table is None else table.series(name).last
    return 0.0 if point is None else point.value


def _float_of(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


_Apply = Callable[[MetricCurves, Record, Any], MetricCurves]
_APPLY: Mapping[type, _Apply] = {
    StepCompleted: _with_step,
    StepSkipped: _with_skipped_step,
    ValidationCompleted: _with_validation,
    ProcessSampled: _with_sample,
    AttemptEnded: _with_attempt,
    BatchesPlanned: _with_plan,
}
