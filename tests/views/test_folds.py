"""Every view is a fold: the same state for every way of coming to a position, and no state is changed by going on from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

import kd
from kd.run.stages import stage_named
from kd.views.alerts import apply_to_alerts, initial_alerts
from kd.views.comparison import apply_to_facts, initial_facts
from kd.views.dataset_sample import apply_to_samples, initial_samples
from kd.views.eval_table import apply_to_eval_table, initial_eval_table
from kd.views.gate_table import apply_to_gate_table, initial_gate_table
from kd.views.loss_curve import apply_to_curves, initial_curves
from kd.views.run_progress import apply_to_progress, initial_progress
from kd.views.run_streams import stage_of
from kd.views.timeline import apply_to_timeline, initial_timeline
from ledger.record import Record
from tests.views.examples import RUN, recorded, skipped, training_run


@frozen
class View:
    """A view's two functions."""

    initial: Callable[[str], Any]
    apply: Callable[[Any, Record], Any]


VIEWS = {
    "curves": View(initial_curves, apply_to_curves),
    "progress": View(initial_progress, apply_to_progress),
    "alerts": View(initial_alerts, apply_to_alerts),
    "timeline": View(initial_timeline, apply_to_timeline),
    "evaluation": View(initial_eval_table, apply_to_eval_table),
    "gates": View(initial_gate_table, apply_to_gate_table),
    "samples": View(initial_samples, apply_to_samples),
    "facts": View(initial_facts, apply_to_facts),
}
_RECORDS = recorded([*training_run(400), skipped(401, 500), *training_run(30, run="other")])


def _states(view: View, run: str, records: list[Record]) -> list[Any]:
    """The state at every position, from the first on."""
    states = [view.initial(run)]
    for record in records:
        states.append(view.apply(states[-1], record))
    return states


@cache
def _live(name: str) -> list[Any]:
    return _states(VIEWS[name], RUN, _RECORDS)


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=10)
@given(seeks=st.lists(st.tuples(st.integers(0, 300), st.integers(0, len(_RECORDS))), min_size=1, max_size=4))
def test_seeking_gives_what_was_live(name: str, seeks: list[tuple[int, int]]) -> None:
    """Folding on from any state of before, forwards and backwards, ends in the states that folding at once gave."""
    view = VIEWS[name]
    live = _live(name)
    for keyframe, target in seeks:
        state = live[keyframe]
        for record in _RECORDS[keyframe : max(keyframe, target)]:
            state = view.apply(state, record)
        assert state == live[max(keyframe, target)]


@pytest.mark.parametrize("name", VIEWS)
def test_another_future_leaves_the_first_one_alone(name: str) -> None:
    """Two ledgers that part at a record have views that part there, too."""
    view = VIEWS[name]
    other = recorded([*training_run(400)[:200], *(skipped(i, 500 + i) for i in range(199, 330))])
    live = _states(view, RUN, _RECORDS)
    before = _states(view, RUN, _RECORDS)[-1]
    state = live[150]
    for record in other[150:]:
        state = view.apply(state, record)
    assert state == _states(view, RUN, other)[-1]
    assert live[-1] == before


def test_progress_is_what_the_stages_say(finished_ledger: Path) -> None:
    """At every record of a whole run, the light fold counts what the stage's own state counts."""
    run = kd.open(finished_ledger, write=False).run("latest")
    state = initial_progress(run.id)
    machines: dict[str, Any] = {}
    for record in run.records():
        state = apply_to_progress(state, record)
        name = stage_of(record.stream)
        if not name:
            continue
        stage = stage_named(name)
        machines[name] = stage.decider.evolve(machines.get(name, stage.decider.initial), record.event)
        expected = stage.progress(machines[name])
        if expected is not None:
            assert state.progress == expected, record.position


def test_views_of_a_whole_run_are_complete(finished_ledger: Path) -> None:
    """A finished run has curves, items, gates with evidence in this ledger, answered requests, and no alert of an error."""
    run = kd.open(finished_ledger, write=False).run("latest")
    records = list(run.records())
    states = {name: _states(view, run.id, records)[-1] for name, view in VIEWS.items()}
    assert {"loss", "validation.kl_nats", "rss_bytes"} <= set(states["curves"].names())
    assert len(states["evaluation"].items) == states["evaluation"].num_planned > 0
    rows = states["gates"].rows()
    assert rows
    assert all(evidence.position is not None for row in rows for evidence in row.evidence)
    assert states["gates"].verdict is not None
    assert states["samples"].num_open == 0 < states["samples"].num_answered
    assert {"non_finite", "stage_failed"}.isdisjoint(alert.rule for alert in states["alerts"].alerts)
    assert {marker.kind for marker in states["timeline"].markers} >= {"run", "stage", "validation", "gate", "verdict"}
