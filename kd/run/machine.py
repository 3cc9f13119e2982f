"""The state machine of a run: which stage is due, and how people steer it."""

from __future__ import annotations

from typing import assert_never

from attrs import evolve as replace

from kd.run import events as ev
from kd.run.commands import (
    AnswerRequest,
    Command,
    CompleteStage,
    EndRun,
    FailStage,
    GrantWaiver,
    PlanRun,
    RequestCancel,
    RequestPause,
    RequestResume,
    SampleProcess,
    StartRun,
    StartStage,
    StopRun,
)
from kd.run.states import (
    Absent,
    Cancelled,
    Cancelling,
    CancelRequest,
    DrawConclusion,
    Failed,
    Known,
    Paused,
    PauseRequest,
    Pausing,
    Plan,
    Planned,
    Rejected,
    Running,
    RunStage,
    RunState,
    StageResult,
    Succeeded,
    outputs_of,
    status_of,
)
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["APPROVING_VERDICTS", "RUN", "Event", "decide", "evolve", "pending"]

APPROVING_VERDICTS = ("approved", "approved_with_waivers")
_TOO_LATE = "The last stage had ended before the request was seen."

Event = (
    ev.RunPlanned
    | ev.RunStarted
    | ev.RunResumed
    | ev.StageStarted
    | ev.StageCompleted
    | ev.StageFailed
    | ev.RunPaused
    | ev.RunCancelled
    | ev.RunFailed
    | ev.RunRejected
    | ev.RunSucceeded
    | ev.ProcessSampled
    | ev.PauseRequested
    | ev.PauseAccepted
    | ev.PauseRejected
    | ev.CancelRequested
    | ev.CancelAccepted
    | ev.CancelRejected
    | ev.ResumeRequested
    | ev.WaiverGranted
)


def decide(command: Command, state: RunState) -> tuple[Event, ...]:
    """The events that `command` causes in `state`, or CommandRejectedError."""
    match command:
        case PlanRun():
            return _plan(command, state)
        case StartRun():
            return _start(command, state)
        case RequestPause() | RequestCancel():
            return _request(command, state)
        case RequestResume(reason=reason):
            _start(command, state)  # refused by the sentence by which the resume would be
            return (ev.ResumeRequested(reason=reason),)
        case GrantWaiver():
            return _grant(command, state)
        case AnswerRequest():
            return _answer(command, state)
        case StartStage() | CompleteStage() | FailStage() | EndRun():
            return _advance(command, state)
        case StopRun():
            return _stop(command, state)
        case SampleProcess():
            return (command.sample,)
        case _ as unreachable:
            assert_never(unreachable)


def evolve(state: RunState, event: Event) -> RunState:
    """What is so after `event`."""
    match event:
        case ev.RunPlanned():
            return Planned(plan=Plan(config=event.config, stages=event.stages))
        case ev.ProcessSampled() | ev.StageFailed():
            return state
        case _:
            assert isinstance(state, Known), f"{type(event).__name__} before RunPlanned"
            return _evolve_known(state, event)


def pending(state: RunState) -> RunStage | DrawConclusion | None:
    """The stage that is due while the run is running, then the conclusion."""
    if not isinstance(state, Running):
        return None
    due = _due(state.plan)
    return RunStage(stage=due) if due is not None else DrawConclusion()


RUN: Decider[Command, RunState, Event, RunStage | DrawConclusion] = Decider(initial=Absent(), decide=decide, evolve=evolve, pending=pending)


def _plan(command: PlanRun, state: RunState) -> tuple[Event, ...]:
    if not isinstance(state, Absent):
        raise CommandRejectedError(command, state, "The run exists already: choose another name.")
    return (
        ev.RunPlanned(
            config=command.config,
            config_digest=command.config_digest,
            stages=command.stages,
            code_digest=command.code_digest,
            environment=command.environment,
        ),
    )


def _start(command: StartRun | RequestResume, state: RunState) -> tuple[Event, ...]:
    match state:
        case Planned():
            return (ev.RunStarted(),)
        case Running(request=CancelRequest(reason=reason)):
            return (ev.CancelAccepted(), ev.RunCancelled(reason=reason))
        case Running():
            return (*_rejected(state, "The owner died before it saw the request."), ev.RunResumed())
        case Pausing() | Paused() | Failed(is_retryable=True):
            return (ev.RunResumed(),)
        case Rejected(verdict="waiver_required") | Succeeded(valid_until_ms=int()):
            return _take_up_judged(command, state)
        case Cancelling(reason=reason):
            return (ev.RunCancelled(reason=reason),)
        case Failed(reason=reason):
            raise CommandRejectedError(command, state, f"The run failed and another try cannot help ({reason}): start a new run.")
        case Absent():
            raise CommandRejectedError(command, state, "There is no such run: see `kd runs`.")
        case _:
            raise CommandRejectedError(command, state, f"The run is {status_of(state)}: there is nothing to resume.")


def _take_up_judged(command: StartRun | RequestResume, state: Rejected | Succeeded) -> tuple[Event, ...]:
    if state.granted:
        return (ev.RunResumed(),)
    problem = (
        "The verdict needs a waiver and none was granted since: grant one with `kd judge waive`, then resume."
        if isinstance(state, Rejected)
        else "The run is approved until a waiver ends: once it has lapsed, grant a new one with `kd judge waive`, then resume."
    )
    raise CommandRejectedError(command, state, problem)


def _request(command: RequestPause | RequestCancel, state: RunState) -> tuple[Event, ...]:
    word = "pause" if isinstance(command, RequestPause) else "cancel"
    if isinstance(state, Pausing | Cancelling) or (isinstance(state, Running) and state.request is not None):
        raise CommandRejectedError(command, state, f"The run is already asked to stop: wait until it has, then {word} it.")
    if isinstance(command, RequestPause):
        if not isinstance(state, Running):
            raise CommandRejectedError(command, state, f"The run is {status_of(state)}, expected running: there is nothing to pause.")
        return (ev.PauseRequested(reason=command.reason, is_now=command.is_now),)
    requested = ev.CancelRequested(reason=command.reason, is_now=command.is_now)
    match state:
        case Running():
            return (requested,)
        case Planned() | Paused() | Failed():
            return (requested, ev.CancelAccepted(), ev.RunCancelled(reason=command.reason))
        case _:
            raise CommandRejectedError(command, state, f"The run is {status_of(state)}: there is nothing to cancel.")


def _grant(command: GrantWaiver, state: RunState) -> tuple[Event, ...]:
    match state:
        case Rejected(verdict="waiver_required") | Succeeded() if not isinstance(state, Succeeded) or _is_lapsed(state, command.now_ms):
            if command.waiver.id in {waiver.id for waiver in state.granted}:
                raise CommandRejectedError(command, state, f"Waiver {command.waiver.id} was granted already: resume the run.")
            return (ev.WaiverGranted(waiver=command.waiver),)
        case Rejected(verdict=verdict):
            problem = f"The verdict is {verdict}: something stands against approval that may not be waived."
        case Succeeded(verdict=verdict):
            problem = f"The run succeeded, its verdict is {verdict}: there is nothing to waive."
        case Absent():
            problem = "There is no such run: see `kd runs`."
        case _:
            problem = f"The run is {status_of(state)}, and only what a verdict found can be waived: wait for the verdict."
    raise CommandRejectedError(command, state, problem)


def _is_lapsed(state: Succeeded, now_ms: int) -> bool:
    return state.valid_until_ms is not None and now_ms >= state.valid_until_ms


def _answer(command: AnswerRequest, state: RunState) -> tuple[Event, ...]:
    match state:
        case Running(request=PauseRequest()):
            return (ev.PauseAccepted(),)
        case Running(request=CancelRequest()):
            return (ev.CancelAccepted(),)
        case _:
            raise CommandRejectedError(command, state, "There is no open request to answer.")


def _advance(command: StartStage | CompleteStage | FailStage | EndRun, state: RunState) -> tuple[Event, ...]:
    if not isinstance(state, Running | Pausing | Cancelling):
        raise CommandRejectedError(command, state, f"The run is {status_of(state)}, expected running.")
    due = _due(state.plan)
    match command:
        case StartStage(stage=stage):
            _expect_due(command, state, stage, due)
            return (ev.StageStarted(stage=stage, inputs=tuple(a.digest for a in outputs_of(state.plan))),)
        case CompleteStage(stage=stage):
            _expect_due(command, state, stage, due)
            return (
                ev.StageCompleted(
                    stage=stage,
                    outputs=command.outputs,
                    seconds=command.seconds,
                    verdict=command.verdict,
                    valid_until_ms=command.valid_until_ms,
                ),
                *(_rejected(state, _TOO_LATE) if state.plan.stages[-1] == stage else ()),
            )
        case FailStage(failure=failure):
            _expect_due(command, state, failure.stage, due)
            failed = ev.RunFailed(stage=failure.stage, reason=failure.reason, is_retryable=failure.is_retryable)
            return (*_rejected(state, "The run had failed before the request was seen."), failure, failed)
        case EndRun():
            if due is not None:
                raise CommandRejectedError(command, state, f"Stage {due!r} has not ended.")
            return (*_rejected(state, _TOO_LATE), _end(state.plan.results[-1]))
        case _ as unreachable:
            assert_never(unreachable)


def _end(judged: StageResult) -> Event:
    verdict = judged.verdict or "rejected"
    if verdict not in APPROVING_VERDICTS:
        return ev.RunRejected(verdict=verdict)
    return ev.RunSucceeded(verdict=verdict, valid_until_ms=judged.valid_until_ms)


def _rejected(state: RunState, reason: str) -> tuple[Event, ...]:
    """The answer to a request that is open and can no longer be granted: every request is answered."""
    match state:
        case Running(request=PauseRequest()):
            return (ev.PauseRejected(reason=reason),)
        case Running(request=CancelRequest()):
            return (ev.CancelRejected(reason=reason),)
        case _:
            return ()


def _expect_due(command: Command, state: RunState, stage: str, due: str | None) -> None:
    if stage != due:
        raise CommandRejectedError(command, state, f"Stage {stage!r} is not due; {due or 'the conclusion'} is.")


def _stop(command: StopRun, state: RunState) -> tuple[Event, ...]:
    match state:
        case Pausing(reason=reason):
            return (ev.RunPaused(cause="request", reason=reason),)
        case Cancelling(reason=reason):
            return (ev.RunCancelled(reason=reason),)
        case Running(request=CancelRequest(reason=reason)) if command.cause != "request":
            return (ev.CancelAccepted(), ev.RunCancelled(reason=reason))
        case Running() if command.cause != "request":
            accepted = (ev.PauseAccepted(),) if state.request is not None else ()
            return (*accepted, ev.RunPaused(cause=command.cause, reason=command.reason))
        case _:
            raise CommandRejectedError(command, state, f"The run is {status_of(state)}: nobody asked it to stop.")


def _evolve_known(state: Known, event: Event) -> RunState:
    plan = state.plan
    match event:
        case ev.RunResumed() if isinstance(state, Rejected | Succeeded):
            return Running(plan=replace(plan, results=plan.results[:-1]))  # the stage that gave the verdict is due again
        case ev.RunStarted() | ev.RunResumed():
            return Running(plan=plan)
        case ev.ResumeRequested():
            return _existing(state)
        case ev.WaiverGranted(waiver=waiver):
            return _existing(replace(state, granted=(*state.granted, waiver)) if isinstance(state, Rejected | Succeeded) else state)
        case ev.StageStarted(stage=stage):
            return _with_plan(state, replace(plan, started=(*plan.started, stage)))
        case ev.StageCompleted():
            result = StageResult(
                stage=event.stage,
                outputs=event.outputs,
                seconds=event.seconds,
                verdict=event.verdict,
                valid_until_ms=event.valid_until_ms,
            )
            return _with_plan(state, replace(plan, results=(*plan.results, result)))
        case (
            ev.PauseRequested() | ev.PauseAccepted() | ev.PauseRejected() | ev.CancelRequested() | ev.CancelAccepted() | ev.CancelRejected()
        ):
            return _evolve_request(state, event)
        case _:
            return _evolve_end(plan, event)


def _evolve_request(
    state: Known,
    event: ev.PauseRequested | ev.PauseAccepted | ev.PauseRejected | ev.CancelRequested | ev.CancelAccepted | ev.CancelRejected,
) -> RunState:
    match event, state:
        case ev.PauseRequested(), Running():
            return replace(state, request=PauseRequest(reason=event.reason, is_now=event.is_now))
        case ev.CancelRequested(), Running():
            return replace(state, request=CancelRequest(reason=event.reason, is_now=event.is_now))
        case ev.PauseAccepted(), Running(request=PauseRequest(reason=reason, is_now=is_now)):
            return Pausing(plan=state.plan, reason=reason, is_now=is_now)
        case ev.CancelAccepted(), Running(request=CancelRequest(reason=reason, is_now=is_now)):
            return Cancelling(plan=state.plan, reason=reason, is_now=is_now)
        case ((ev.PauseRejected() | ev.CancelRejected()), Running()):
            return replace(state, request=None)
        case _:  # a request to a run without an owner at work is answered in its own batch, by the event of the end
            return _existing(state)


def _evolve_end(plan: Plan, event: Event) -> RunState:
    match event:
        case ev.RunPaused():
            return Paused(plan=plan, cause=event.cause, reason=event.reason)
        case ev.RunCancelled():
            return Cancelled(plan=plan, reason=event.reason)
        case ev.RunFailed():
            return Failed(plan=plan, stage=event.stage, reason=event.reason, is_retryable=event.is_retryable)
        case ev.RunRejected():
            return Rejected(plan=plan, verdict=event.verdict)
        case ev.RunSucceeded():
            return Succeeded(plan=plan, verdict=event.verdict, valid_until_ms=event.valid_until_ms)
        case _:
            raise AssertionError(f"{type(event).__name__} has no place in a run")


def _with_plan(state: Known, plan: Plan) -> RunState:
    return _existing(replace(state, plan=plan))


def _existing(state: Known) -> RunState:
    assert isinstance(state, Planned | Running | Pausing | Paused | Cancelling | Cancelled | Failed | Rejected | Succeeded)
    return state


def _due(plan: Plan) -> str | None:
    done = len(plan.results)
    return plan.stages[done] if done < len(plan.stages) else None
