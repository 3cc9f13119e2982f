"""Cancelling and pausing runs whose owner died, in every state that it can have left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kd
from kd.errors import UsageError
from kd.run import commands as c
from kd.run import states as s
from kd.run.control import request_resume
from kd.run.machine import RUN
from kd.run.owned_run import OwnedRun
from kd.run.runner import Runner
from ledger.errors import AlreadyOwnedError
from ledger.handle import Live
from ledger.ownership import claim
from ledger.segments import FileStore
from ledger.testing import FixedClock

LEFT_BEHIND: tuple[tuple[object, ...], ...] = (
    (),
    (c.StartRun(),),
    (c.StartRun(), c.RequestPause(reason="x")),
    (c.StartRun(), c.RequestPause(reason="x"), c.AnswerRequest()),
    (c.StartRun(), c.RequestCancel(reason="x")),
    (c.StartRun(), c.RequestCancel(reason="x"), c.AnswerRequest()),
    (c.StartRun(), c.StopRun(cause="disk", reason="full")),
)


@pytest.fixture
def run(tmp_path: Path) -> kd.Run:
    """A planned run in a fresh ledger."""
    return kd.open(tmp_path / "ledger", create=True).plan("configs/tiny.yaml")


def _live(run: kd.Run) -> Live[object, s.RunState, object, object]:
    return Live(run.ledger.store, f"run/{run.id}", RUN)  # type: ignore[arg-type]


@pytest.mark.parametrize("left_behind", LEFT_BEHIND)
def test_a_run_without_an_owner_is_cancelled_from_every_state(run: kd.Run, left_behind: tuple[object, ...]) -> None:
    """Whatever a dead owner left unanswered, `cancel` ends the run."""
    live = _live(run)
    for command in left_behind:
        live.handle(command)
    run.cancel(reason="enough")
    assert isinstance(run.state(), s.Cancelled)


@pytest.mark.parametrize("left_behind", LEFT_BEHIND[1:6])
def test_a_run_without_an_owner_cannot_be_paused(run: kd.Run, left_behind: tuple[object, ...]) -> None:
    """A pause needs somebody who pauses; the message says how to go on."""
    live = _live(run)
    for command in left_behind:
        live.handle(command)
    with pytest.raises(UsageError, match="nobody works on it"):
        run.pause(reason="lunch")


def test_a_stage_that_failed_for_good_fails_the_run_whoever_comes_next(run: kd.Run, tmp_path: Path) -> None:
    """An owner that dies between the stage's failure and the run's leaves a run that the next owner ends."""
    from kd.run.pipeline import start_command
    from kd.run.stages import stage_named

    live = _live(run)
    live.handle(c.StartRun())
    state = live.handle(c.StartStage(stage="generation"))
    assert isinstance(state, s.Known)
    stage = stage_named("generation")
    inside: Live[object, object, object, object] = Live(run.ledger.store, f"run/{run.id}/generation", stage.decider)
    inside.handle(start_command(state.plan, "generation"))
    inside.handle(stage.fail("bind", "no such model", False))
    store = run.ledger.store
    assert isinstance(store, FileStore)
    with claim(store, run.id, "test") as ownership:
        runner = Runner(store, run.id, ownership, scratch=tmp_path / "scratch", clock=FixedClock())
        runner.start()
        failed = runner.drive()
    assert isinstance(failed, s.Failed)
    assert (failed.reason, failed.is_retryable) == ("no such model", False)


def test_the_reason_of_a_resume_is_recorded_once_and_before_the_claim(run: kd.Run) -> None:
    """Asking twice under one key is one request; it names who asked and what they looked at, and the owner comes after it."""
    store = run.ledger.store
    for _ in range(2):
        request_resume(store, run.id, reason="the disk is free again", actor="ana@host", key="one", cause=1)
    (record,) = store.scan(names="run.resume_requested")
    assert (record.meta.actor, record.meta.cause) == ("ana@host", 1)
    with claim(store, run.id, "owner@host"), pytest.raises(AlreadyOwnedError, match=str(os.getpid())):
        request_resume(store, run.id, reason="again", actor="ana@host")
    assert len(list(store.scan(names="run.resume_requested"))) == 1


@pytest.mark.parametrize("command", [c.RequestPause(reason="lunch"), c.RequestCancel(reason="enough")])
@pytest.mark.parametrize("answer", [c.AnswerRequest(), c.StartRun(), c.StopRun(cause="disk", reason="full")])
def test_an_answer_names_the_request_that_it_answers(run: kd.Run, command: object, answer: object) -> None:
    """Also a request that comes between the owner's last look and its next record, and one that a dead owner left."""
    store = run.ledger.store
    owned = OwnedRun(store, run.id)
    owned.handle(c.StartRun())
    _live(run).handle(c.RequestPause(reason="before"))
    owned.handle(c.StartRun())
    _live(run).handle(command)
    owned.handle(answer)  # type: ignore[arg-type]
    records = [record for record in store.scan(streams="run/*") if record.name.startswith(("run.pause_", "run.cancel_"))]
    first, rejected, asked, answered = records
    assert (rejected.meta.cause, answered.meta.cause) == (first.position, asked.position)


def test_a_start_names_the_wish_to_resume(run: kd.Run) -> None:
    """Whoever asked finds the beginning that answers; an older wish is not answered twice."""
    for reason in ("one", "two"):
        request_resume(run.ledger.store, run.id, reason=reason, actor="ana@host")
        OwnedRun(run.ledger.store, run.id).handle(c.StartRun())
    OwnedRun(run.ledger.store, run.id).handle(c.StartRun())
    wishes = [record.position for record in run.ledger.store.scan(names="run.resume_requested")]
    starts = [record.meta.cause for record in run.records() if record.name in {"run.started", "run.resumed"}]
    assert starts == [*wishes, None]
