"""The Python API: a run is started, steered and read without the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import kd
from kd.errors import ConfigError, UsageError
from kd.run import states
from kd.run.events import RunPaused, RunPlanned, RunStarted
from ledger.errors import CommandRejectedError, NotALedgerError

TINY = "configs/tiny.yaml"


def test_a_run_is_started_paused_and_cancelled_from_python(tmp_path: Path) -> None:
    """`start` returns once the start is recorded; the run then works in a process of its own and obeys."""
    run = kd.start(TINY, ledger=tmp_path / "ledger", name="mine")
    assert run.id.startswith("mine-")
    assert isinstance(run.state(), states.Running)
    run.pause(reason="lunch", now=True)
    assert run.wait(timeout_seconds=120)["state"] == "paused"
    events = list(run.follow())
    assert isinstance(events[0], RunPlanned)
    assert any(isinstance(event, RunStarted) for event in events)
    assert events[-1] == RunPaused(cause="request", reason="lunch")
    run.cancel(reason="enough")
    assert isinstance(run.state(), states.Cancelled)
    with pytest.raises(CommandRejectedError, match="nothing to resume"):
        run.resume()


def test_a_run_can_be_read_at_any_position(finished_ledger: Path) -> None:
    """A view at a position is the fold of the records up to it, and the view at the end is the present one."""
    run = kd.open(finished_ledger, write=False).run("latest")
    records = list(run.records())
    middle = next(r.position for r in records[len(records) // 2 :] if r.batch_index == r.batch_size)
    assert run.view(at=middle).last_position == middle
    assert run.view(at=records[-1].position) == run.view()
    assert run.state(at=records[0].position) != run.state()


def test_a_position_inside_a_batch_counts_as_before_it(finished_ledger: Path) -> None:
    """A batch is all or nothing also for those who look back."""
    run = kd.open(finished_ledger, write=False).run("latest")
    first = next(record for record in run.records() if record.batch_size > 1 and record.batch_index == 1)
    assert run.view(at=first.position).last_position < first.position


def test_wrong_configurations_and_ledgers_are_errors(tmp_path: Path) -> None:
    """What the command line explains, Python raises."""
    with pytest.raises(ConfigError, match="stepz"):
        kd.start(TINY, ledger=tmp_path / "ledger", overrides=["training.stepz=1"])
    with pytest.raises(UsageError, match="no configuration file"):
        kd.start("configs/none.yaml", ledger=tmp_path / "ledger")
    with pytest.raises(NotALedgerError):
        kd.open(tmp_path / "none")
