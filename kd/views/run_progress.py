"""How far a run is, how fast, and when its stage at work will be done: from active time alone, as a range or not at all."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import evolve as replace
from attrs import field, frozen

from kd.artifacts import Artifact
from kd.evaluation.events import EvaluationPlanned, ItemEvaluated
from kd.generation.events import AttemptEnded, LogitsCaptured, PlanSealed, ReplyReused, RequestRejected, SamplesBuilt
from kd.governance.events import GateEvaluated, GovernanceStarted
from kd.run.events import StageCompleted, StageStarted
from kd.run.stages import stage_named
from kd.stage import Progress
from kd.training.events import CheckpointSaved, StepCompleted, StepSkipped, TrainingStarted
from kd.views.active_time import ActiveTime, apply_to_active_time
from kd.views.run_streams import is_of_owner, is_of_run
from ledger.record import Record, UnknownEvent

__all__ = ["CheckpointMark", "Eta", "Pace", "RunProgress", "apply_steps_to_progress", "apply_to_progress", "initial_progress"]

_WINDOW_MS = 60_000
_NUM_WINDOWS = 12
_MIN_UNITS = 20
_MARK_MS = 5_000
_NUM_MARKS = _NUM_WINDOWS * _WINDOW_MS // _MARK_MS + 1
_FOLDED_STAGES = ("export", "conversion")
"""Stages of few records, whose own state says how far they are."""

_Mark = tuple[int, int, int]
"""Active milliseconds, pieces done and tokens at that time."""


@frozen(kw_only=True)
class CheckpointMark:
    """The newest checkpoint."""

    step: int
    time_ms: int
    position: int
    artifact: Artifact


@frozen(kw_only=True)
class Eta:
    """Seconds of work left: at the present rate, and at the best and worst tenth of the last twelve minutes."""

    seconds: float
    low_seconds: float | None
    """None, as `high_seconds`, before there is a whole minute to judge by."""
    high_seconds: float | None
    """None also where the slow minutes had no progress at all."""


@frozen(kw_only=True)
class Pace:
    """Speed of the stage at work at one moment; None where fewer than 20 pieces fell into the last minute."""

    per_second: float | None
    tokens_per_second: float | None
    eta: Eta | None


@frozen
class _Pieces:
    """Pieces of the present kind, since it began."""

    unit: str = ""
    done: int = 0
    total: int = 0
    num_tokens: int = 0
    marks: array[int] = field(factory=lambda: array("q"))
    """Numbers of one mark after the other, at least five active seconds apart; never changed."""

    def at(self, active_ms: int, done: int, num_tokens: int = 0) -> _Pieces:
        """So many pieces and tokens at that active time."""
        marks = self.marks
        if self.is_mark_due(active_ms):
            marks = marks[-3 * _NUM_MARKS :] + array("q", (active_ms, done, num_tokens))
        return _Pieces(self.unit, done, self.total, num_tokens, marks)

    def is_mark_due(self, active_ms: int) -> bool:
        """Whether five active seconds have gone since the last mark."""
        return not self.marks or active_ms - self.marks[-3] >= _MARK_MS


@frozen
class RunProgress:
    """A run's progress so far."""

    run: str
    time: ActiveTime = field(factory=ActiveTime)
    stage: str | None = None
    """The stage at work, or the last one that was."""
    pieces: _Pieces = field(factory=_Pieces)
    last_position: int = -1
    checkpoint: CheckpointMark | None = None
    checkpoint_every: tuple[int, float] | None = None
    """Steps and seconds between checkpoints: whichever comes first."""
    num_steps: int | None = None
    """Planned steps of training."""
    _machine: Any = None

    @property
    def progress(self) -> Progress | None:
        """How far the stage at work is, or None where it has no countable pieces."""
        return Progress(done=self.pieces.done, total=self.pieces.total, unit=self.pieces.unit) if self.pieces.unit else None

    @property
    def next_checkpoint_step(self) -> int | None:
        """The step at which one is due at the latest; None outside training."""
        if self.checkpoint_every is None or self.num_steps is None or self.pieces.unit != "step":
            return None
        every = self.checkpoint_every[0]
        return min((self.pieces.done // every + 1) * every, self.num_steps)

    def active_seconds(self, now_ms: int | None = None) -> float:
        """Worked so far, as `ActiveTime.active_ms`."""
        return self.time.active_ms(now_ms) / 1000

    def checkpoint_age_seconds(self, now_ms: int) -> float | None:
        """Since the newest checkpoint; None without one."""
        return None if self.checkpoint is None else max(0, now_ms - self.checkpoint.time_ms) / 1000

    def pace(self, now_ms: int | None = None) -> Pace:
        """Speed and time left; `now_ms` if the owner lives, None for the time of the last record."""
        pieces, active_ms = self.pieces, self.time.active_ms(now_ms)
        now: _Mark = (active_ms, pieces.done, pieces.num_tokens)
        rate = _rate(_before(pieces.marks, active_ms - _WINDOW_MS), now)
        if rate is None:
            return Pace(per_second=None, tokens_per_second=None, eta=None)
        start = _before(pieces.marks, active_ms - _WINDOW_MS)
        assert start is not None
        tokens = (now[2] - start[2]) * 1000 / (now[0] - start[0])
        left = max(0, pieces.total - pieces.done)
        slow, fast = _slow_and_fast(pieces.marks, now)
        eta = Eta(seconds=left / rate, low_seconds=left / fast if fast else None, high_seconds=left / slow if slow else None)
        return Pace(per_second=rate, tokens_per_second=tokens or None, eta=eta)


def initial_progress(run: str) -> RunProgress:
    """Nothing is known of the run."""
    return RunProgress(run)


def apply_to_progress(state: RunProgress, record: Record) -> RunProgress:
    """The progress after `record`; records of other runs change nothing."""
    stream = record.stream
    if not (is_of_run(stream, state.run) or is_of_owner(stream, state.run)):
        return state
    event = record.event
    if type(event) is StepCompleted:
        return apply_steps_to_progress(state, (record,))
    time = apply_to_active_time(state.time, record, state.run)
    state = replace(state, time=time, last_position=record.position)
    stage = stream.rpartition("/")[2]
    if stage in _FOLDED_STAGES and stream.count("/") == 2 and not isinstance(event, UnknownEvent):
        return _with_machine(state, stage, event)
    apply = _APPLY.get(type(event))
    return state if apply is None else apply(state, record, event)


def apply_steps_to_progress(state: RunProgress, records: Sequence[Record]) -> RunProgress:
    """The progress after `records`, all of them steps that the run completed: the same as one after the other, faster."""
    pieces, time = state.pieces, state.time
    num_tokens, now_ms, seen_ms = pieces.num_tokens, time.last_ms, -1
    for record in records:
        event: Any = record.event
        num_tokens += event.num_tokens
        if record.time_ms > now_ms:
            now_ms = record.time_ms
        if now_ms != seen_ms:
            active_ms, seen_ms = time.active_ms(now_ms), now_ms
            if pieces.is_mark_due(active_ms):
                pieces = pieces.at(active_ms, event.step, num_tokens)
    last: Any = records[-1].event
    pieces = replace(pieces, done=last.step, num_tokens=num_tokens)
    return replace(state, time=replace(time, last_ms=now_ms), pieces=pieces, last_position=records[-1].position)


def _with_machine(state: RunProgress, name: str, event: object) -> RunProgress:
    stage = stage_named(name)
    machine = stage.decider.evolve(stage.decider.initial if state._machine is None else state._machine, event)
    state = replace(state, machine=machine)
    found = stage.progress(machine)
    if found is None:
        return state
    return _counting(state, found.unit, found.total, found.done)


def _counting(state: RunProgress, unit: str, total: int, done: int) -> RunProgress:
    """`done` of `total` pieces; those of another kind than before are a new count."""
    pieces = state.pieces
    if (pieces.unit, pieces.total) != (unit, total):
        pieces = _Pieces(unit, 0, total).at(state.time.active_ms(), 0)
    return replace(state, pieces=pieces.at(state.time.active_ms(), done, pieces.num_tokens))


def _one_more(state: RunProgress, _record: Record, _event: object, count: int = 1) -> RunProgress:
    pieces = state.pieces
    return replace(state, pieces=pieces.at(state.time.active_ms(), pieces.done + count, pieces.num_tokens))


def _started_stage(state: RunProgress, _record: Record, event: StageStarted) -> RunProgress:
    return replace(state, stage=event.stage, pieces=_Pieces(), machine=None)


def _completed_stage(state: RunProgress, _record: Record, _event: StageCompleted) -> RunProgress:
    return replace(state, pieces=_Pieces(), machine=None)


def _answered(state: RunProgress, record: Record, event: AttemptEnded) -> RunProgress:
    return state if event.reply is None else _one_more(state, record, event)


def _training(state: RunProgress, _record: Record, event: TrainingStarted) -> RunProgress:
    config = event.config
    every = config.checkpoint.every_steps, config.checkpoint.every_seconds
    return _counting(replace(state, checkpoint_every=every, num_steps=config.steps), "step", config.steps, 0)


def _checkpoint(state: RunProgress, record: Record, event: CheckpointSaved) -> RunProgress:
    mark = CheckpointMark(step=event.step, time_ms=record.time_ms, position=record.position, artifact=event.checkpoint)
    return replace(state, checkpoint=mark)


def _skipped(state: RunProgress, _record: Record, event: StepSkipped) -> RunProgress:
    return replace(state, pieces=state.pieces.at(state.time.active_ms(), event.step, state.pieces.num_tokens))


def _evaluation(state: RunProgress, _record: Record, event: EvaluationPlanned) -> RunProgress:
    return _counting(state, "items", sum(len(suite.arms) * len(suite.item_ids) for suite in event.suites), 0)


_Apply = Callable[[RunProgress, Record, Any], RunProgress]
_APPLY: Mapping[type, _Apply] = {
    StageStarted: _started_stage,
    StageCompleted: _completed_stage,
    PlanSealed: lambda state, record, event: _counting(state, "replies", event.num_requests, 0),
    AttemptEnded: _answered,
    ReplyReused: _one_more,
    RequestRejected: _one_more,
    SamplesBuilt: lambda state, record, event: _counting(state, "samples scored", event.num_samples, 0),
    LogitsCaptured: lambda state, record, event: _one_more(state, record, event, event.num_samples),
    TrainingStarted: _training,
    StepSkipped: _skipped,
    CheckpointSaved: _checkpoint,
    EvaluationPlanned: _evaluation,
    ItemEvaluated: _one_more,
    GovernanceStarted: lambda state, record, event: _counting(state, "gates", len(event.config.gates.gates), 0),
    GateEvaluated: _one_more,
}


def _before(marks: array[int], active_ms: int) -> _Mark | None:
    """The last mark at or before `active_ms`, else the first one."""
    return _mark(marks, max(0, bisect_right(marks[::3], active_ms) - 1)) if marks else None


def _mark(marks: array[int], index: int) -> _Mark:
    return marks[3 * index], marks[3 * index + 1], marks[3 * index + 2]


def _rate(start: _Mark | None, end: _Mark) -> float | None:
    """Pieces per active second; None for fewer than 20."""
    if start is None or end[1] - start[1] < _MIN_UNITS or end[0] <= start[0]:
        return None
    return (end[1] - start[1]) * 1000 / (end[0] - start[0])


def _slow_and_fast(marks: array[int], now: _Mark) -> tuple[float | None, float | None]:
    """The 10th and 90th percentile of the rates of the last twelve whole minutes."""
    edges = [now]
    while len(edges) <= _NUM_WINDOWS and edges[-1][0] - marks[0] >= _WINDOW_MS:
        edges.append(_between(marks, now, edges[-1][0] - _WINDOW_MS))
    rates = sorted((later[1] - earlier[1]) * 1000 / _WINDOW_MS for later, earlier in pairwise(edges))
    if not rates:
        return None, None
    last = len(rates) - 1
    return rates[round(0.1 * last)], rates[round(0.9 * last)]


def _between(marks: array[int], now: _Mark, active_ms: int) -> _Mark:
    """What was done at `active_ms`, in proportion between two marks."""
    index = bisect_right(marks[::3], active_ms)
    earlier = _mark(marks, max(0, index - 1))
    later = _mark(marks, index) if 3 * index < len(marks) else now
    share = (active_ms - earlier[0]) / (later[0] - earlier[0]) if later[0] > earlier[0] else 0.0
    return active_ms, round(earlier[1] + share * (later[1] - earlier[1])), 0
