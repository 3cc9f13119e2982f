"""The machine of a run, given events, when a command, then events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kd.artifacts import Artifact, FileRef
from kd.run import commands as c
from kd.run import events as ev
from kd.run import states as s
from kd.run.config_file import load_run_config
from kd.run.machine import RUN
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.record import BlobRef
from ledger.testing import decide_given
from tests.governance.waiver_examples import waiver

CONFIG = load_run_config(Path("configs/tiny.yaml"))
PLANNED = ev.RunPlanned(config=CONFIG, config_digest="0" * 64, stages=("generation", "governance"), code_digest="0" * 64, environment={})
DATASET = Artifact(kind="dataset", files=(FileRef(path="dataset.json", blob=BlobRef(sha256="a" * 64, num_bytes=1)),))
GENERATED = ev.StageCompleted(stage="generation", outputs=(DATASET,), seconds=1.0)
PAUSE = ev.PauseRequested(reason="lunch")
CANCEL = ev.CancelRequested(reason="wrong data")
FAILURE = ev.StageFailed(stage="generation", step="AskTeacher", reason="no answer", is_retryable=True)


def _governed(verdict: str) -> ev.StageCompleted:
    return ev.StageCompleted(stage="governance", outputs=(), seconds=1.0, verdict=verdict)


def _decided(events: Sequence[object], command: object) -> tuple[object, ...]:
    return tuple(decide_given(RUN, events, command))


def _state(*events: object) -> s.RunState:
    return fold(RUN, events)  # type: ignore[arg-type]


def test_a_planned_run_starts_and_a_started_one_resumes() -> None:
    """The first owner starts the run; every later one resumes it."""
    assert _decided([PLANNED], c.StartRun()) == (ev.RunStarted(),)
    assert _decided([PLANNED, ev.RunStarted()], c.StartRun()) == (ev.RunResumed(),)


def test_stages_are_due_in_order_and_the_conclusion_comes_last() -> None:
    """Pending names the first stage without a result, then the conclusion, then nothing."""
    running = [PLANNED, ev.RunStarted()]
    assert RUN.pending(_state(PLANNED)) is None
    assert RUN.pending(_state(*running)) == s.RunStage(stage="generation")
    assert RUN.pending(_state(*running, GENERATED)) == s.RunStage(stage="governance")
    assert RUN.pending(_state(*running, GENERATED, _governed("approved"))) == s.DrawConclusion()
    assert RUN.pending(_state(*running, GENERATED, _governed("approved"), ev.RunSucceeded(verdict="approved"))) is None


def test_a_stage_is_given_the_digests_of_earlier_outputs() -> None:
    """What a stage was started with is recorded by digest."""
    events = _decided([PLANNED, ev.RunStarted(), GENERATED], c.StartStage(stage="governance"))
    assert events == (ev.StageStarted(stage="governance", inputs=(DATASET.digest,)),)


def test_a_stage_that_is_not_due_is_refused() -> None:
    """No stage is skipped, none is done twice."""
    with pytest.raises(CommandRejectedError, match="not due"):
        _decided([PLANNED, ev.RunStarted()], c.StartStage(stage="governance"))
    with pytest.raises(CommandRejectedError, match="not due"):
        _decided([PLANNED, ev.RunStarted(), GENERATED], c.CompleteStage(stage="generation", outputs=(), seconds=0.0))


@pytest.mark.parametrize(
    ("verdict", "end"),
    [("approved", ev.RunSucceeded), ("rejected", ev.RunRejected), ("waiver_required", ev.RunRejected), (None, ev.RunRejected)],
)
def test_only_an_approving_verdict_lets_a_run_succeed(verdict: str | None, end: type) -> None:
    """What does not approve, a missing verdict included, rejects."""
    governed = ev.StageCompleted(stage="governance", outputs=(), seconds=1.0, verdict=verdict)
    (event,) = _decided([PLANNED, ev.RunStarted(), GENERATED, governed], c.EndRun())
    assert isinstance(event, end)


def test_a_pause_is_requested_accepted_and_reached() -> None:
    """A request changes nothing until the owner accepts it, and then the run stops at a safe point."""
    running = [PLANNED, ev.RunStarted()]
    assert _decided(running, c.RequestPause(reason="lunch")) == (PAUSE,)
    assert isinstance(_state(*running, PAUSE), s.Running)
    assert _decided([*running, PAUSE], c.AnswerRequest()) == (ev.PauseAccepted(),)
    pausing = [*running, PAUSE, ev.PauseAccepted()]
    assert _decided(pausing, c.StopRun()) == (ev.RunPaused(cause="request", reason="lunch"),)
    assert _decided([*pausing, ev.RunPaused(cause="request", reason="lunch")], c.StartRun()) == (ev.RunResumed(),)


def test_nobody_can_stop_a_run_that_was_not_asked_to() -> None:
    """A stage that stops without a request is a fault, not a pause."""
    with pytest.raises(CommandRejectedError, match="nobody asked"):
        _decided([PLANNED, ev.RunStarted()], c.StopRun())


def test_a_cancelled_run_stays_cancelled() -> None:
    """A cancelled run can neither be resumed nor cancelled again."""
    cancelled = [PLANNED, ev.RunStarted(), CANCEL, ev.CancelAccepted(), ev.RunCancelled(reason="wrong data")]
    assert isinstance(_state(*cancelled), s.Cancelled)
    for command in (c.StartRun(), c.RequestCancel(reason="again"), c.RequestPause(reason="again")):
        with pytest.raises(CommandRejectedError):
            _decided(cancelled, command)


def test_a_run_that_nobody_works_on_is_cancelled_in_one_batch() -> None:
    """Request, answer and end of a paused run are recorded together."""
    paused = [PLANNED, ev.RunStarted(), ev.RunPaused(cause="disk", reason="full")]
    events = _decided(paused, c.RequestCancel(reason="wrong data"))
    assert events == (CANCEL, ev.CancelAccepted(), ev.RunCancelled(reason="wrong data"))
    assert isinstance(_state(*paused, *events), s.Cancelled)


def test_an_owner_that_dies_while_cancelling_is_finished_for() -> None:
    """Whoever takes up a run whose cancellation was accepted only ends it."""
    cancelling = [PLANNED, ev.RunStarted(), CANCEL, ev.CancelAccepted()]
    assert _decided(cancelling, c.StartRun()) == (ev.RunCancelled(reason="wrong data"),)


def test_a_request_that_comes_too_late_is_rejected_with_the_last_stage() -> None:
    """Every request is answered, also the one that nobody can grant any more."""
    events = _decided(
        [PLANNED, ev.RunStarted(), GENERATED, PAUSE], c.CompleteStage(stage="governance", outputs=(), seconds=1.0, verdict="approved")
    )
    assert isinstance(events[-1], ev.PauseRejected)
    assert RUN.pending(_state(PLANNED, ev.RunStarted(), GENERATED, PAUSE, *events)) == s.DrawConclusion()


def test_a_second_request_is_refused_while_one_is_open() -> None:
    """One wish at a time."""
    with pytest.raises(CommandRejectedError, match="already asked"):
        _decided([PLANNED, ev.RunStarted(), PAUSE], c.RequestCancel(reason="x"))


@pytest.mark.parametrize("is_retryable", [True, False])
def test_only_a_retryable_failure_is_taken_up_again(is_retryable: bool) -> None:
    """A failure that another try cannot mend ends the run for good."""
    failure = ev.StageFailed(stage="generation", step="x", reason="y", is_retryable=is_retryable)
    events = _decided([PLANNED, ev.RunStarted()], c.FailStage(failure=failure))
    failed = [PLANNED, ev.RunStarted(), *events]
    if is_retryable:
        assert _decided(failed, c.StartRun()) == (ev.RunResumed(),)
    else:
        with pytest.raises(CommandRejectedError, match="another try cannot help"):
            _decided(failed, c.StartRun())


def test_a_run_is_planned_once() -> None:
    """A second plan under the same id is refused."""
    command = c.PlanRun(config=CONFIG, config_digest="0" * 64, stages=("generation",), code_digest="0" * 64, environment={})
    assert _decided([], command) == (
        ev.RunPlanned(config=CONFIG, config_digest="0" * 64, stages=("generation",), code_digest="0" * 64, environment={}),
    )
    with pytest.raises(CommandRejectedError, match="exists already"):
        _decided([PLANNED], command)


def test_a_cancellation_that_a_dead_owner_never_saw_is_carried_out_by_the_next() -> None:
    """A recorded wish to cancel is not forgotten with the process that should have read it."""
    events = _decided([PLANNED, ev.RunStarted(), CANCEL], c.StartRun())
    assert events == (ev.CancelAccepted(), ev.RunCancelled(reason="wrong data"))


def test_a_pause_that_a_dead_owner_never_saw_is_answered_by_who_resumes() -> None:
    """Whoever resumes does not want the old pause, and says so."""
    events = _decided([PLANNED, ev.RunStarted(), PAUSE], c.StartRun())
    assert tuple(type(event) for event in events) == (ev.PauseRejected, ev.RunResumed)
    assert _state(PLANNED, ev.RunStarted(), PAUSE, *events) == _state(PLANNED, ev.RunStarted())


@pytest.mark.parametrize(("request_", "answer"), [(PAUSE, ev.PauseRejected), (CANCEL, ev.CancelRejected)])
def test_a_request_that_meets_a_failure_is_answered(request_: object, answer: type) -> None:
    """A run that fails before it saw a request answers it all the same."""
    events = _decided([PLANNED, ev.RunStarted(), request_], c.FailStage(failure=FAILURE))
    assert isinstance(events[0], answer)
    assert isinstance(_state(PLANNED, ev.RunStarted(), request_, *events), s.Failed)


def test_a_run_that_pauses_by_itself_grants_what_was_asked() -> None:
    """A full disk or a lost teacher meets an open request: a pause is a pause, a cancellation ends the run."""
    stop = c.StopRun(cause="disk", reason="full")
    paused = _decided([PLANNED, ev.RunStarted(), PAUSE], stop)
    assert paused == (ev.PauseAccepted(), ev.RunPaused(cause="disk", reason="full"))
    cancelled = _decided([PLANNED, ev.RunStarted(), CANCEL], stop)
    assert cancelled == (ev.CancelAccepted(), ev.RunCancelled(reason="wrong data"))


def test_a_request_between_the_last_stage_and_the_conclusion_is_answered() -> None:
    """The conclusion comes first, and the request learns that it is too late."""
    events = _decided([PLANNED, ev.RunStarted(), GENERATED, _governed("approved"), PAUSE], c.EndRun())
    assert tuple(type(event) for event in events) == (ev.PauseRejected, ev.RunSucceeded)


def test_a_resume_is_asked_for_where_it_is_possible() -> None:
    """The request changes nothing; where a resume would be refused, so is the request, by the same sentence."""
    request = c.RequestResume(reason="the disk is free again")
    paused = (PLANNED, ev.RunStarted(), ev.RunPaused(cause="disk", reason="full"))
    for given in ((PLANNED,), (PLANNED, ev.RunStarted()), (PLANNED, ev.RunStarted(), PAUSE), paused, (*WAITING, GRANTED)):
        events = _decided(given, request)
        assert events == (ev.ResumeRequested(reason="the disk is free again"),)
        assert _state(*given, *events) == _state(*given)
    for refused in ((), WAITING, (PLANNED, ev.RunCancelled(reason="x"))):
        sentences = []
        for command in (request, c.StartRun()):
            with pytest.raises(CommandRejectedError) as caught:
                _decided(refused, command)
            sentences.append(caught.value.reason)
        assert sentences[0] == sentences[1]


WAITING = (PLANNED, ev.RunStarted(), GENERATED, _governed("waiver_required"), ev.RunRejected(verdict="waiver_required"))
GRANTED = ev.WaiverGranted(waiver=waiver())


def test_a_run_that_needs_a_waiver_is_judged_again_once_one_is_granted() -> None:
    """Without a waiver there is nothing to resume; with one the stage of the verdict is due again, and the others stay done."""
    with pytest.raises(CommandRejectedError, match="kd judge waive"):
        _decided(WAITING, c.StartRun())
    assert _decided(WAITING, c.GrantWaiver(waiver=waiver())) == (GRANTED,)
    assert _decided([*WAITING, GRANTED], c.StartRun()) == (ev.RunResumed(),)
    resumed = _state(*WAITING, GRANTED, ev.RunResumed())
    assert RUN.pending(resumed) == s.RunStage(stage="governance")
    assert isinstance(resumed, s.Running)
    assert [result.stage for result in resumed.plan.results] == ["generation"]


@pytest.mark.parametrize(("verdict", "end"), [("approved_with_waivers", s.Succeeded), ("waiver_required", s.Rejected)])
def test_the_second_verdict_decides_as_the_first_one_did(verdict: str, end: type) -> None:
    """Approved with waivers the run succeeds; else it is rejected again, and waits for waivers that are granted from then on."""
    judged = [*WAITING, GRANTED, ev.RunResumed(), _governed(verdict)]
    state = _state(*judged, *_decided(judged, c.EndRun()))
    assert isinstance(state, end)
    if isinstance(state, s.Rejected):
        assert state.granted == ()


def test_a_waiver_is_granted_once() -> None:
    """The same waiver again changes nothing; another one may follow."""
    with pytest.raises(CommandRejectedError, match="granted already"):
        _decided([*WAITING, GRANTED], c.GrantWaiver(waiver=waiver()))
    other = waiver(title="another")
    assert _decided([*WAITING, GRANTED], c.GrantWaiver(waiver=other)) == (ev.WaiverGranted(waiver=other),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "no such run"),
        (WAITING[:2], "The run is running"),
        ((*WAITING, GRANTED, ev.RunResumed()), "The run is running"),
        ((*WAITING[:3], _governed("rejected"), ev.RunRejected(verdict="rejected")), "may not be waived"),
        ((*WAITING[:3], _governed("approved"), ev.RunSucceeded(verdict="approved")), "nothing to waive"),
    ],
)
def test_only_what_a_verdict_found_can_be_waived(given: tuple[object, ...], words: str) -> None:
    """One sentence says why there is nothing to waive."""
    with pytest.raises(CommandRejectedError, match=words):
        _decided(given, c.GrantWaiver(waiver=waiver()))
