"""A run at one position of the ledger: its own state, its stages' states, and what was measured and judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from kd.evaluation.events import MeasurementRecorded
from kd.evidence import GateResult, Measurement
from kd.governance.events import GateEvaluated
from kd.run import machine, states
from kd.run.events import ProcessSampled
from kd.run.stages import STAGES
from kd.views.active_time import ActiveTime, apply_to_active_time
from ledger.record import Record, UnknownEvent

__all__ = ["IMPOSSIBLE", "RunView", "evolve_view", "view_runs"]

IMPOSSIBLE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a fold raises at a record that no writer of ours puts where it stands, such as a step before training began."""
_STAGES = {stage.name: stage for stage in STAGES}


@frozen(kw_only=True)
class RunView:
    """What is known of one run."""

    id: str
    run: states.RunState = field(factory=states.Absent)
    stages: Mapping[str, Any] = field(factory=dict)
    """State of each stage that has events, by name."""
    started_ms: int | None = None
    last_ms: int | None = None
    active: ActiveTime = field(factory=ActiveTime)
    last_position: int = -1
    num_records: int = 0
    num_unknown: int = 0
    """Records of event kinds that this version of kd does not know."""
    measurements: tuple[Measurement, ...] = ()
    gates: tuple[GateResult, ...] = ()
    peak_rss_bytes: int = 0
    problem: str | None = None
    """Why the run cannot be read on, in one sentence: a record does not follow from those before it. Later ones are only counted."""

    @property
    def seconds(self) -> float:
        """How long it was worked on, up to the last record."""
        return self.active.active_ms() / 1000


def evolve_view(view: RunView, record: Record) -> RunView:
    """The view after `record`, which must be of the run's streams."""
    event = record.event
    run, stages, num_unknown, problem = view.run, view.stages, view.num_unknown, view.problem
    measurements, gates, peak_rss_bytes = view.measurements, view.gates, view.peak_rss_bytes
    stage = _STAGES.get(record.stream.removeprefix(f"run/{view.id}").removeprefix("/"))
    if isinstance(event, UnknownEvent):
        num_unknown += 1
    elif isinstance(event, ProcessSampled):
        peak_rss_bytes = max(peak_rss_bytes, event.rss_bytes)
    elif problem is None:
        try:
            if stage is None:
                run = machine.evolve(run, event)  # type: ignore[arg-type]  # the run's stream holds its events alone
            else:
                stages = {**stages, stage.name: stage.decider.evolve(stages.get(stage.name, stage.decider.initial), event)}
        except IMPOSSIBLE:
            problem = (
                f"{record.name} does not follow from what the run recorded before it, so nothing after it is known: see kd audit {view.id}."
            )
        if isinstance(event, MeasurementRecorded):
            measurements = (*measurements, event.measurement)
        elif isinstance(event, GateEvaluated):
            gates = (*gates, event.result)
    return RunView(
        id=view.id,
        run=run,
        stages=stages,
        started_ms=record.time_ms if view.started_ms is None else view.started_ms,
        last_ms=record.time_ms,
        active=apply_to_active_time(view.active, record, view.id),
        last_position=record.position,
        num_records=view.num_records + 1,
        num_unknown=num_unknown,
        measurements=measurements,
        gates=gates,
        peak_rss_bytes=peak_rss_bytes,
        problem=problem,
    )


def view_runs(records: Iterable[Record]) -> dict[str, RunView]:
    """Every run among `records`, oldest first; other streams are passed over."""
    views: dict[str, RunView] = {}
    for record in records:
        family, _, rest = record.stream.partition("/")
        if family == "run":
            run = rest.partition("/")[0]
            views[run] = evolve_view(views.get(run) or RunView(id=run), record)
    return views
