"""Steps that are folded together read as those that are folded one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve as replace
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.training.events import LossPart, StepCompleted
from kd.views.alerts import apply_steps_to_alerts, apply_to_alerts, initial_alerts
from kd.views.loss_curve import apply_steps_to_curves, apply_to_curves, initial_curves
from kd.views.run_progress import apply_steps_to_progress, apply_to_progress, initial_progress
from kd.views.timeline import apply_steps_to_timeline, apply_to_timeline, initial_timeline
from ledger.record import Record
from tests.views.examples import RUN, recorded, step, training_run

VIEWS: dict[str, tuple[Callable[[str], Any], Callable[[Any, Record], Any], Callable[[Any, Sequence[Record]], Any]]] = {
    "curves": (initial_curves, apply_to_curves, apply_steps_to_curves),
    "progress": (initial_progress, apply_to_progress, apply_steps_to_progress),
    "alerts": (initial_alerts, apply_to_alerts, apply_steps_to_alerts),
    "timeline": (initial_timeline, apply_to_timeline, apply_steps_to_timeline),
}
_NUMBERS = st.sampled_from([0.5, 1.0, 2.0, 90.0, 0.0, -1.0, math.nan, math.inf])
_STEPS = st.builds(
    lambda number, loss, norm, seconds, tokens, parts: replace(
        _STEP, step=number, loss_nats=loss, grad_norm=norm, seconds=seconds, num_tokens=tokens, parts=parts
    ),
    number=st.integers(0, 400),
    loss=_NUMBERS,
    norm=_NUMBERS,
    seconds=_NUMBERS,
    tokens=st.integers(-1, 9),
    parts=st.lists(
        st.builds(LossPart, name=st.just("kd"), value_nats=_NUMBERS, weight=st.just(1.0), num_tokens=st.integers(0, 1)), max_size=2
    ).map(tuple),
)
_event: Any = step(1, 0)[1]
_STEP: StepCompleted = _event
_BEFORE = recorded(training_run(80)[:-2])
_SOME = recorded([step(number, number) for number in range(90)])


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=40)
@given(
    steps=st.lists(st.tuples(_STEPS, st.sampled_from([0, 1, 900, 70_000, -5_000])), min_size=1, max_size=250),
    parts=st.lists(st.integers(1, 90), max_size=6),
    num_before=st.integers(0, len(_BEFORE)),
)
def test_any_parts_give_what_single_steps_give(
    name: str, steps: list[tuple[StepCompleted, int]], parts: list[int], num_before: int
) -> None:
    """However steps are cut into parts, whatever their numbers and times, each part ends in the state that single records end in."""
    initial, apply, apply_steps = VIEWS[name]
    alone = together = initial(RUN)
    for record in _BEFORE[:num_before]:
        alone, together = apply(alone, record), apply(together, record)
    records, time_ms, start = [], _BEFORE[-1].time_ms, 0
    for place, (event, later_ms) in enumerate(steps, _BEFORE[-1].position + 1):
        time_ms += later_ms
        records.append(_as_record(event, place, time_ms))
    for size in [*parts, len(records)]:
        part = records[start : start + size]
        for record in part:
            alone = apply(alone, record)
        together = apply_steps(together, part) if part else together
        assert together == alone
        start += size


@pytest.mark.parametrize("name", VIEWS)
def test_folding_again_from_an_older_state_changes_nothing(name: str) -> None:
    """A part that is folded twice, or cut otherwise the second time, gives the same state and leaves the newer one alone."""
    initial, _, apply_steps = VIEWS[name]
    first = apply_steps(initial(RUN), _SOME[:30])
    last = apply_steps(first, _SOME[30:])
    again = apply_steps(apply_steps(first, _SOME[30:71]), _SOME[71:])
    other = apply_steps(first, _SOME[40:])
    assert again == last == apply_steps(first, _SOME[30:])
    assert other == apply_steps(apply_steps(initial(RUN), _SOME[:30]), _SOME[40:]) != last


def _as_record(event: StepCompleted, position: int, time_ms: int) -> Record:
    like = _BEFORE[-1]
    return Record(
        position,
        like.chain,
        f"run/{RUN}/training",
        position,
        None,
        1,
        1,
        time_ms,
        "training.step_completed",
        1,
        like.meta,
        event,
        like.line,
    )
