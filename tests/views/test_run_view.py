"""Views are folds: the same for every way of cutting the records."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import pytest

import kd
from kd.views.run_summary import run_row, summarise
from kd.views.run_view import RunView, evolve_view
from kd.views.state_digest import state_digest
from kd.views.timeline import describe


@pytest.fixture(scope="module")
def run(finished_ledger: Path) -> kd.Run:
    """The finished run of the shared ledger."""
    return kd.open(finished_ledger, write=False).run("latest")


def test_folding_a_prefix_and_then_the_rest_equals_folding_all(run: kd.Run) -> None:
    """A live view and one that was folded at once are equal."""
    records = list(run.records())
    whole = reduce(evolve_view, records, RunView(id=run.id))
    for cut in range(0, len(records), max(1, len(records) // 7)):
        prefix = reduce(evolve_view, records[:cut], RunView(id=run.id))
        assert reduce(evolve_view, records[cut:], prefix) == whole


def test_a_run_at_work_without_an_owner_reads_interrupted(run: kd.Run) -> None:
    """Whether somebody works on a run is no event; a dead owner shows at once."""
    half = run.view(at=run.view().last_position // 2)
    assert run_row(half, is_owned=True)["state"] == "running"
    assert run_row(half, is_owned=False)["state"] == "interrupted"
    assert run_row(run.view(), is_owned=False)["state"] in {"succeeded", "rejected"}


def test_the_summary_counts_every_record(run: kd.Run) -> None:
    """No record of the run is passed over."""
    assert summarise(run.view(), is_owned=False)["num_records"] == len(list(run.records()))


def test_state_digests_tell_states_apart(run: kd.Run) -> None:
    """Equal states have equal digests, different ones different digests."""
    assert state_digest(run.state()) == state_digest(run.view().run)
    assert state_digest(run.state()) != state_digest(run.state(at=run.view().last_position // 2))


def test_every_event_has_one_printable_line(run: kd.Run) -> None:
    """A line for people holds the position and the name, and no control character."""
    for record in run.records():
        line = describe(record)
        assert line.isprintable()
        assert line.split()[:2] == [str(record.position), record.name]
