"""The time line has a column for every record and a marker for every event that matters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.run import events as run_events
from kd.views.timeline import Timeline, apply_to_timeline, column_of, initial_timeline
from ledger.events import TreeHeadSigned
from tests.views.examples import RUN, claimed, fold, recorded, released, step, training_run


def _timeline(rows: list[tuple[str, object, float]]) -> Timeline:
    return fold(apply_to_timeline, initial_timeline(RUN), recorded(rows))


@pytest.mark.parametrize("axis", ["position", "time_ms", "step"])
def test_every_record_is_in_one_column(axis: str) -> None:
    """On each axis the columns together hold all records, in order."""
    timeline = _timeline(training_run(1000))
    columns = timeline.columns(axis, 60)
    assert len(columns) == 60
    assert sum(column.num_records for column in columns) == pytest.approx(len(timeline.rows))
    assert [c.first_position for c in columns] == sorted(c.first_position for c in columns)
    assert columns[-1].last_position == recorded(training_run(1000))[-1].position


@given(st.integers(1, 300), st.integers(1, 80), st.sampled_from(["position", "time_ms", "step"]))
def test_few_records_and_any_width_fit(num_steps: int, num_columns: int, axis: str) -> None:
    """No number of records and no width breaks the columns."""
    timeline = _timeline([claimed(0), *(step(i, i // 3) for i in range(1, num_steps + 1))])
    columns = timeline.columns(axis, num_columns)
    assert len(columns) == num_columns
    assert sum(column.num_records for column in columns) == pytest.approx(num_steps + 1)


def test_a_silence_takes_one_column() -> None:
    """On the axis of time a gap of a day is one column, and the rest is shared by activity."""
    rows = [*training_run(100), claimed(86_500), *(step(i, 86_400 + i) for i in range(101, 201))]
    columns = _timeline(rows).columns("time_ms", 41)
    assert [index for index, column in enumerate(columns) if column.is_gap] == [20]
    assert all(3 <= column.num_records <= 12 for column in columns if not column.is_gap)


def test_many_silences_leave_room_for_records() -> None:
    """Where gaps outnumber the columns, the longest are shown."""
    timeline = _timeline([step(i, i * 100.0) for i in range(1, 101)])
    columns = timeline.columns("time_ms", 11)
    assert len(columns) == 11
    assert sum(column.is_gap for column in columns) == 5
    assert sum(column.num_records for column in columns) == pytest.approx(100)


def test_what_matters_is_marked() -> None:
    """Starts and ends, checkpoints, validations, requests and answers, owners, errors and tree heads."""
    own = f"run/{RUN}"
    rows = [
        *training_run(100),
        (own, run_events.PauseRequested(reason="look"), 200),
        (own, run_events.PauseAccepted(), 201),
        (own, run_events.StageFailed(stage="training", step="s", reason="disk", is_retryable=True), 202),
        ("ledger", TreeHeadSigned(size=9, root="r", key_id="k"), 203),
        released(204),
    ]
    markers = _timeline(rows).markers.part()
    assert [marker.kind for marker in markers] == [
        *("run", "owner", "run", "stage", "validation", "checkpoint", "request", "answer", "error", "tree_head", "owner")
    ]
    assert markers[6].text == "pause asked for: look"


def test_markers_are_walked_both_ways() -> None:
    """The nearest marker before and behind a position, and none beyond the ends."""
    timeline = _timeline(training_run(250))
    first, *_, last = timeline.markers
    assert timeline.marker_before(first.position) is None
    assert timeline.marker_after(last.position) is None
    after = timeline.marker_after(first.position)
    assert after is not None
    assert timeline.marker_before(after.position) == first


def test_a_position_has_its_column() -> None:
    """Whatever record a marker is at, its column holds it."""
    timeline = _timeline(training_run(1000))
    columns = timeline.columns("position", 50)
    for marker in timeline.markers:
        column = columns[column_of(columns, marker.position)]
        assert column.first_position <= marker.position <= column.last_position
