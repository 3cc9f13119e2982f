"""What of a run can be held against other runs, folded up to a position; a later one goes on from an earlier one."""

from __future__ import annotations

from attrs import evolve as replace
from attrs import frozen

from kd.run.events import RunPlanned
from kd.views.comparison import RunFacts, apply_to_facts, initial_facts
from kd.views.eval_table import EvalTable
from kd.views.loss_curve import MetricCurves, apply_to_curves, initial_curves
from ledger.segments import FileStore
from tui.feed.details import Details
from tui.feed.frame import Frame
from tui.feed.secrets import without_secrets

__all__ = ["OtherRuns", "RunFold", "fold_run", "plan_of", "points_between"]


@frozen(kw_only=True)
class RunFold:
    """A run behind the first `stop` records."""

    stop: int
    facts: RunFacts
    curves: MetricCurves


def fold_run(store: FileStore, run: str, stop: int, *, before: RunFold | None = None) -> RunFold:
    """The run behind `stop` records; takes time, so only for a thread that may wait."""
    if before is None or before.stop > stop or before.facts.run != run:
        before = RunFold(stop=0, facts=initial_facts(run), curves=initial_curves(run))
    facts, curves = before.facts, before.curves
    for record in without_secrets(store, store.scan(start=before.stop, stop=stop, streams=f"run/{run}*")):
        facts, curves = apply_to_facts(facts, record), apply_to_curves(curves, record)
    return RunFold(stop=stop, facts=facts, curves=curves)


def points_between(store: FileStore, run: str, first: int, last: int) -> MetricCurves:
    """The curves of a few thousand records alone, each point by itself."""
    curves = initial_curves(run)
    for record in without_secrets(store, store.scan(start=first, stop=last + 1, streams=f"run/{run}*")):
        curves = apply_to_curves(curves, record)
    return curves


def plan_of(store: FileStore, run: str, stop: int) -> RunFacts:
    """Config, code and environment as the run was planned; reads no further than that."""
    for record in without_secrets(store, store.scan(stop=stop, streams=f"run/{run}")):
        if isinstance(record.event, RunPlanned):
            return apply_to_facts(initial_facts(run), record)
    return initial_facts(run)


class OtherRuns:
    """Runs beside the open one, at the position of a frame; None while a thread reads them."""

    def __init__(self, details: Details) -> None:
        self._details = details

    def facts(self, frame: Frame, run: str | None) -> RunFacts | None:
        """What of `run` can be compared."""
        if run is None or run not in frame.runs:
            return None
        stop = frame.runs[run].last_position + 1
        found = self._details.get(("facts", run, stop), lambda store: fold_run(store, run, stop).facts)
        return found if isinstance(found, RunFacts) else None

    def beside(self, frame: Frame, run: str | None, evaluation: EvalTable) -> tuple[RunFacts, RunFacts] | None:
        """Those of `run` and of the open run, whose evaluation is known already."""
        other = self.facts(frame, run)
        if other is None or frame.run is None:
            return None
        opened, stop = frame.run, frame.position + 1
        plan = self._details.get(("plan", opened), lambda store: plan_of(store, opened, stop))
        return (other, replace(plan, evaluation=evaluation)) if isinstance(plan, RunFacts) else None
