"""What of a run can be held against other runs, folded up to a position; a later one goes on from an earlier one."""

from __future__ import annotations

from attrs import frozen

from kd.run.events import RunPlanned
from kd.views.comparison import RunFacts, apply_to_facts, initial_facts
from kd.views.loss_curve import MetricCurves, apply_to_curves, initial_curves
from ledger.segments import FileStore

__all__ = ["RunFold", "fold_run", "plan_of"]


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
    for record in store.scan(start=before.stop, stop=stop, streams=f"run/{run}*"):
        facts, curves = apply_to_facts(facts, record), apply_to_curves(curves, record)
    return RunFold(stop=stop, facts=facts, curves=curves)


def plan_of(store: FileStore, run: str, stop: int) -> RunFacts:
    """Config, code and environment as the run was planned; reads no further than that."""
    for record in store.scan(stop=stop, streams=f"run/{run}"):
        if isinstance(record.event, RunPlanned):
            return apply_to_facts(initial_facts(run), record)
    return initial_facts(run)
