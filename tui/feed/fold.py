"""Folding the ledger: what is known of all runs, and of the one that is open, after each record.

Live and held views go through these functions alone, so that a position reads the same however it was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import evolve as replace
from attrs import field, frozen

from kd.training.events import StepCompleted
from kd.training.states import Sealing, Training, Validating
from kd.views.alerts import apply_steps_to_alerts, apply_to_alerts, initial_alerts
from kd.views.dataset_sample import apply_to_samples, initial_samples
from kd.views.eval_table import apply_to_eval_table, initial_eval_table
from kd.views.gate_table import apply_to_gate_table, initial_gate_table
from kd.views.loss_curve import apply_steps_to_curves, apply_to_curves, initial_curves
from kd.views.run_progress import apply_steps_to_progress, apply_to_progress, initial_progress
from kd.views.run_view import IMPOSSIBLE, RunView, evolve_view
from kd.views.timeline import apply_steps_to_timeline, apply_to_timeline, initial_timeline
from ledger.events import LEDGER_STREAM, OWNER_STREAMS, OwnerClaimed, OwnerReleased, TreeHeadSigned
from ledger.record import Cursor, Record

__all__ = ["RUN_VIEWS", "AllRuns", "OpenRun", "Opened", "Summary", "batch_start", "is_of_run"]

Apply = Callable[[Any, Record], Any]

_STEP = "training.step_completed"
RUN_VIEWS: Mapping[str, tuple[Callable[[str], Any], Apply]] = {
    "curves": (initial_curves, apply_to_curves),
    "timeline": (initial_timeline, apply_to_timeline),
    "progress": (initial_progress, apply_to_progress),
    "data": (initial_samples, apply_to_samples),
    "evaluation": (initial_eval_table, apply_to_eval_table),
    "governance": (initial_gate_table, apply_to_gate_table),
    "alerts": (initial_alerts, apply_to_alerts),
}
"""The views of the open run by their field of `Frame`: what makes the initial state, and `apply`."""
_STEP_VIEWS: Mapping[str, Callable[[Any, Sequence[Record]], Any]] = {
    "curves": apply_steps_to_curves,
    "timeline": apply_steps_to_timeline,
    "progress": apply_steps_to_progress,
    "alerts": apply_steps_to_alerts,
}
"""Those that look at completed steps, which are most records of a run, and take many of them together."""


@frozen(kw_only=True)
class Summary:
    """All runs at one position."""

    cursor: Cursor
    time_ms: int = 0
    """Of the last record."""
    runs: Mapping[str, RunView] = field(factory=dict)
    owners: Mapping[str, str] = field(factory=dict)
    """Who claimed a run and has not released it."""
    head_size: int = 0


@frozen(kw_only=True)
class Opened:
    """The views of one run at one position."""

    run: str
    position: int
    """Behind the last record looked at."""
    views: Mapping[str, Any] = field(factory=dict)


class AllRuns:
    """Folds every record into the views of all runs; `summary` is a value that later records leave alone."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._runs = dict(summary.runs)
        self._owners = dict(summary.owners)
        self._head_size = summary.head_size

    def extend(self, records: Iterable[Record]) -> None:
        """Fold whole batches that follow."""
        runs, last = self._runs, None
        steps: dict[str, Record] = {}
        num_steps: dict[str, int] = {}
        for record in records:
            last = record
            stream = record.stream
            if stream.startswith("run/"):
                run = stream.split("/", 2)[1]
                if record.name == _STEP and run in runs:
                    num_steps[run] = num_steps.get(run, 0) + 1
                    steps[run] = record
                    continue
                if run in steps:
                    runs[run] = _with_steps(runs[run], steps.pop(run), num_steps.pop(run))
                runs[run] = _light(evolve_view(runs.get(run) or RunView(id=run), record))
            elif stream.startswith(OWNER_STREAMS):
                self._take_owner(record.event)
            elif stream == LEDGER_STREAM and isinstance(record.event, TreeHeadSigned):
                self._head_size = record.event.size
        for run, record in steps.items():
            runs[run] = _with_steps(runs[run], record, num_steps[run])
        if last is not None:
            self._summary = replace(self._summary, cursor=last.cursor, time_ms=last.time_ms)

    def summary(self) -> Summary:
        """What is known now."""
        return replace(self._summary, runs=dict(self._runs), owners=dict(self._owners), head_size=self._head_size)

    @property
    def cursor(self) -> Cursor:
        """The place behind the last record."""
        return self._summary.cursor

    @property
    def owners(self) -> Mapping[str, str]:
        """Who claimed a run and has not released it, as of now."""
        return self._owners

    def _take_owner(self, event: object) -> None:
        if isinstance(event, OwnerClaimed):
            self._owners[event.run] = f"pid {event.pid} on {event.host}"
        elif isinstance(event, OwnerReleased):
            self._owners.pop(event.run, None)


def _with_steps(view: RunView, last: Record, num_steps: int) -> RunView:
    """The view after `num_steps` steps in a row: the state behind them is told by the last."""
    after = _light(evolve_view(view, last))
    return after if num_steps == 1 else replace(after, num_records=view.num_records + num_steps)


def _light(view: RunView) -> RunView:
    """The view without what training remembers of single steps, which nobody looks at and every kept state would carry along."""
    state = view.stages.get("training")
    if not isinstance(state, Training | Validating | Sealing) or not (state.course.records or state.course.grad_norms):
        return view
    state = replace(state, course=replace(state.course, records=(), grad_norms=()))
    return replace(view, stages={**view.stages, "training": state})


class OpenRun:
    """Folds the records that concern one run into its views."""

    def __init__(self, opened: Opened) -> None:
        self.run = opened.run
        self.position = opened.position
        self._views = dict(opened.views)

    @classmethod
    def from_start(cls, run: str) -> OpenRun:
        """Before the first record."""
        return cls(Opened(run=run, position=0, views={name: initial(run) for name, (initial, _) in RUN_VIEWS.items()}))

    def extend(self, records: Iterable[Record]) -> None:
        """Fold records that follow; those that do not concern the run are passed over."""
        run, views, position = self.run, self._views, self.position
        training = f"run/{run}/training"
        appliers = [(name, apply) for name, (_, apply) in RUN_VIEWS.items()]
        steps: list[Record] = []
        for record in records:
            position = record.position + 1
            if record.stream == training and type(record.event) is StepCompleted:
                steps.append(record)
            elif is_of_run(record.stream, run):
                steps = self._take_steps(steps)
                for name, apply in appliers:
                    with suppress(*IMPOSSIBLE):  # the view of the run says so
                        views[name] = apply(views[name], record)
        self._take_steps(steps)
        self.position = position

    def opened(self) -> Opened:
        """What is known now; later records leave it alone."""
        return Opened(run=self.run, position=self.position, views=dict(self._views))

    def _take_steps(self, steps: list[Record]) -> list[Record]:
        """Fold steps that follow each other; the next ones start with none."""
        if steps:
            for name, apply in _STEP_VIEWS.items():
                self._views[name] = apply(self._views[name], steps)
        return []


def is_of_run(stream: str, run: str) -> bool:
    """Whether records of `stream` concern `run`: its own, its stages', its owners', and the ledger's signatures."""
    return stream == f"run/{run}" or stream.startswith(f"run/{run}/") or stream == OWNER_STREAMS + run or stream == LEDGER_STREAM


def batch_start(record: Record) -> int:
    """Position of the first record of the batch that `record` is in."""
    return record.position - record.batch_index + 1
