"""A run over time: each event as one line for people, markers, and how many records fall into each column of a time line."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from attrs import field, fields, frozen, has

from kd.artifacts import Artifact
from kd.governance.events import GateEvaluated, VerdictIssued, WaiverAccepted, WaiverRejected
from kd.run import events as run_events
from kd.training.events import CheckpointSaved, StepCompleted, ValidationCompleted
from kd.views.run_streams import is_of_owner, is_of_run
from kd.views.safe_text import SafeText, safe_text
from kd.views.series import SeriesTable
from kd.views.shared_list import SharedList
from ledger.events import LEDGER_STREAM, OwnerClaimed, OwnerReleased, TreeHeadSigned
from ledger.record import BlobRef, Record, UnknownEvent
from ledger.registry import Durability, Registry

__all__ = [
    "Axis",
    "Gap",
    "Marker",
    "MarkerKind",
    "TimeColumn",
    "Timeline",
    "apply_steps_to_timeline",
    "apply_to_timeline",
    "column_of",
    "describe",
    "initial_timeline",
    "is_transition",
]

Axis = Literal["position", "time_ms", "step"]
MarkerKind = Literal["stage", "checkpoint", "validation", "request", "answer", "run", "gate", "verdict", "error", "owner", "tree_head"]

_MAX_CHARACTERS = 100
_GAP_MS = 60_000
"""A longer silence is drawn as one `┊`."""


@frozen
class Marker:
    """A record that is worth a sign on the time line."""

    kind: MarkerKind
    position: int
    time_ms: int
    text: str
    step: int | None = None
    """Of a checkpoint."""


@frozen
class Gap:
    """A silence between two records."""

    before_position: int
    """The record that ended it."""
    start_ms: int
    end_ms: int
    row: int
    """Number of the run's records before it."""


@frozen
class TimeColumn:
    """One column of a time line: records with positions from `first_position` to `last_position`."""

    first_position: int
    last_position: int
    num_records: float
    """Exact at its ends to a block of 64 records, in proportion inside one."""
    is_gap: bool = False


@frozen
class Timeline:
    """Where a run's records and markers lie."""

    run: str
    rows: SeriesTable = field(factory=lambda: SeriesTable((), ("time_ms", "step")))
    """One row a record; x is the position, the step that of the newest training step."""
    markers: SharedList[Marker] = field(factory=SharedList)
    """In order of position."""
    gaps: SharedList[Gap] = field(factory=SharedList)

    def columns(self, axis: Axis, num_columns: int) -> tuple[TimeColumn, ...]:
        """The run from its first record to its last in equal parts of `axis`; on the axis of time a gap takes one column."""
        if not len(self.rows) or num_columns < 1:
            return ()
        if axis != "time_ms":
            first, last = self.rows.key_at(0, axis), self.rows.key_at(len(self.rows) - 1, axis)
            return self._parts(axis, first, last, num_columns, 0, len(self.rows))
        return self._time_columns(num_columns)

    def marker_after(self, position: int) -> Marker | None:
        """The nearest marker behind `position`."""
        index = bisect_right(range(len(self.markers)), position, key=lambda i: self.markers[i].position)
        return self.markers[index] if index < len(self.markers) else None

    def marker_before(self, position: int) -> Marker | None:
        """The nearest marker before `position`."""
        index = bisect_right(range(len(self.markers)), position - 1, key=lambda i: self.markers[i].position)
        return self.markers[index - 1] if index else None

    def _time_columns(self, num_columns: int) -> tuple[TimeColumn, ...]:
        """Spells of activity share the columns by their length; what does not fit of the gaps between them is the longest ones' to show."""
        first, last = self.rows.key_at(0, "time_ms"), self.rows.key_at(len(self.rows) - 1, "time_ms")
        shown = sorted(self.gaps, key=lambda gap: gap.start_ms - gap.end_ms)[: (num_columns - 1) // 2]
        shown.sort(key=lambda gap: gap.before_position)
        edges = [first, *(edge for gap in shown for edge in (float(gap.start_ms), float(gap.end_ms))), last]
        spells = list(zip(edges[::2], edges[1::2]))
        rows = [0, *(gap.row for gap in shown), len(self.rows)]
        widths = _shares([end - start for start, end in spells], num_columns - len(shown))
        found: list[TimeColumn] = []
        for index, ((start, end), width) in enumerate(zip(spells, widths)):
            found += self._parts("time_ms", start, end, width, rows[index], rows[index + 1])
            if index < len(shown):
                before = shown[index].before_position
                found.append(TimeColumn(before, before, 0.0, is_gap=True))
        return tuple(found)

    def _parts(self, axis: Axis, first: float, last: float, num_columns: int, start: int, stop: int) -> tuple[TimeColumn, ...]:
        """Rows `start` to before `stop`, whose keys reach from `first` to `last`."""
        edges = (first + (last - first) * index / num_columns for index in range(1, num_columns))
        rows = [start, *(min(max(self.rows.rows_before(edge, axis), start), stop) for edge in edges), stop]
        columns = []
        for begin, end in pairwise(rows):
            first_position = int(self.rows.key_at(begin, "position"))
            columns.append(TimeColumn(first_position, max(first_position, int(self.rows.key_at(end - 1, "position"))), end - begin))
        return tuple(columns)


def column_of(columns: Sequence[TimeColumn], position: int) -> int:
    """The index of the column that a position is drawn in."""
    return max(0, bisect_right(columns, position, key=lambda column: column.first_position) - 1)


def initial_timeline(run: str) -> Timeline:
    """No record yet."""
    return Timeline(run)


def apply_to_timeline(state: Timeline, record: Record) -> Timeline:
    """The time line after `record`; records of other runs change nothing, tree heads of the ledger do."""
    stream = record.stream
    if not (is_of_run(stream, state.run) or is_of_owner(stream, state.run) or (stream == LEDGER_STREAM and len(state.rows))):
        return state
    event, time_ms, position = record.event, record.time_ms, record.position
    markers, gaps = state.markers, state.gaps
    if stream == LEDGER_STREAM:
        if not isinstance(event, TreeHeadSigned):
            return state
        return Timeline(
            state.run, state.rows, markers.append(Marker("tree_head", position, time_ms, f"head of {event.size} records")), gaps
        )
    if type(event) is StepCompleted:
        return apply_steps_to_timeline(state, (record,))
    _, _, before_ms, step = state.rows.last_keys()
    if time_ms - before_ms > _GAP_MS and len(state.rows):
        gaps = gaps.append(Gap(position, int(before_ms), time_ms, len(state.rows)))
    sign = _SIGNS.get(type(event))
    if sign is not None:
        markers = markers.append(
            Marker(sign[0], position, time_ms, sign[1](event), event.step if isinstance(event, CheckpointSaved) else None)
        )
    return Timeline(state.run, state.rows.push(position, position, (), (time_ms, step)), markers, gaps)


def apply_steps_to_timeline(state: Timeline, records: Sequence[Record]) -> Timeline:
    """The time line after `records`, all of them steps that the run completed: the same as one after the other, faster."""
    _, _, last_ms, last_step = state.rows.last_keys()
    gaps, num_rows = state.gaps, len(state.rows)
    rows: list[float] = []
    for index, record in enumerate(records, num_rows):
        event: Any = record.event
        position, time_ms, step = record.position, record.time_ms, event.step
        if time_ms > last_ms:
            if time_ms - last_ms > _GAP_MS and index:
                gaps = gaps.append(Gap(position, int(last_ms), time_ms, index))
            last_ms = time_ms
        if step > last_step:
            last_step = step
        rows += (position, position, last_ms, last_step)
    return Timeline(state.run, state.rows.push_rows(array("d", rows)), state.markers, gaps)


def describe(record: Record) -> SafeText:
    """`position  stream  name  field=value …`, shortened and safe to print."""
    event: Any = record.event
    if isinstance(event, UnknownEvent):
        facts = f"unknown to this version of kd, {len(event.payload)} bytes"
    else:
        facts = " ".join(f"{field.name}={_short(getattr(event, field.name))}" for field in fields(type(event)))
    text = facts if len(facts) <= _MAX_CHARACTERS else f"{facts[: _MAX_CHARACTERS - 1]}…"
    return safe_text(f"{record.position:>6}  {record.name:<32}  {text}")


def is_transition(record: Record, registry: Registry) -> bool:
    """Whether the record is more than a progress figure."""
    return any(entry.name == record.name and entry.durability is Durability.TRANSITION for entry in registry.entries)


def _short(value: Any) -> str:
    match value:
        case str():
            text = value if len(value) <= 40 else f"{value[:12]}…"
            return repr(text) if not text.isprintable() or " " in text else text
        case float():
            return f"{value:.6g}"
        case BlobRef():
            return f"blob:{value.sha256[:12]}"
        case Artifact():
            return f"{value.kind}:{value.digest[:12]}"
        case tuple() | list():
            return f"[{', '.join(_short(item) for item in value[:3])}{', …' if len(value) > 3 else ''}]"
        case _ if has(type(value)):
            return "{…}"
        case _:
            return str(value)


def _shares(lengths: Sequence[float], num_columns: int) -> list[int]:
    """`num_columns` shared out by length, at least one each, with the rest to the largest remainders."""
    total = sum(lengths)
    spare = num_columns - len(lengths)
    wanted = [spare * length / total if total else spare / len(lengths) for length in lengths]
    given = [int(want) for want in wanted]
    order = sorted(range(len(lengths)), key=lambda index: given[index] - wanted[index])
    for index in order[: spare - sum(given)]:
        given[index] += 1
    return [1 + more for more in given]


def _metrics(event: ValidationCompleted) -> str:
    return " ".join(f"{metric.name} {metric.value:.6g}" for metric in event.metrics)


def _waived(event: run_events.WaiverGranted | WaiverAccepted) -> str:
    return ", ".join(limit.gate_id for limit in event.waiver.limits)


def _gate(event: GateEvaluated) -> str:
    return f"{event.result.gate.id}: {event.result.status}"


_SIGNS: Mapping[type, tuple[MarkerKind, Callable[[Any], str]]] = {
    run_events.RunPlanned: ("run", lambda _event: "planned"),
    run_events.RunStarted: ("run", lambda _event: "started"),
    run_events.RunResumed: ("run", lambda _event: "resumed"),
    run_events.RunPaused: ("run", lambda event: f"paused: {event.reason}"),
    run_events.RunCancelled: ("run", lambda event: f"cancelled: {event.reason}"),
    run_events.RunSucceeded: ("run", lambda event: f"succeeded: {event.verdict}"),
    run_events.RunRejected: ("run", lambda event: f"rejected: {event.verdict}"),
    run_events.RunFailed: ("error", lambda event: f"run failed: {event.reason}"),
    run_events.StageStarted: ("stage", lambda event: f"{event.stage} started"),
    run_events.StageCompleted: ("stage", lambda event: f"{event.stage} completed"),
    run_events.StageFailed: ("error", lambda event: f"{event.stage} failed: {event.reason}"),
    run_events.PauseRequested: ("request", lambda event: f"pause asked for: {event.reason}"),
    run_events.PauseAccepted: ("answer", lambda _event: "pause accepted"),
    run_events.PauseRejected: ("answer", lambda event: f"pause rejected: {event.reason}"),
    run_events.CancelRequested: ("request", lambda event: f"cancel asked for: {event.reason}"),
    run_events.CancelAccepted: ("answer", lambda _event: "cancel accepted"),
    run_events.CancelRejected: ("answer", lambda event: f"cancel rejected: {event.reason}"),
    run_events.ResumeRequested: ("request", lambda event: f"resume asked for: {event.reason}"),
    run_events.WaiverGranted: ("request", lambda event: f"waiver granted: {_waived(event)}"),
    WaiverAccepted: ("answer", lambda event: f"waiver accepted: {_waived(event)}"),
    WaiverRejected: ("answer", lambda event: f"waiver rejected: {event.reason}"),
    CheckpointSaved: ("checkpoint", lambda event: f"checkpoint of step {event.step}"),
    ValidationCompleted: ("validation", _metrics),
    GateEvaluated: ("gate", _gate),
    VerdictIssued: ("verdict", lambda event: event.verdict.status),
    OwnerClaimed: ("owner", lambda event: f"claimed by {event.actor}, process {event.pid} on {event.host}"),
    OwnerReleased: ("owner", lambda _event: "released"),
}
