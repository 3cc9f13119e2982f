"""The generation stage as a pure state machine.

Idle → Binding → Probing → Planning → Asking → Building → Scoring → Sealing → Completed; from every state at work to Failed and,
where another try can help, back. What is pending while asking is the sealed plan without the keys that were answered or rejected:
a process that died costs the requests it had in flight, and no recorded reply.
"""

from __future__ import annotations

from typing import assert_never

from kd.generation.commands import (
    Command,
    EndAttempt,
    FailGeneration,
    RecordLogits,
    RecordProbe,
    RecordSamples,
    RecordTeacher,
    RetryGeneration,
    ReuseReply,
    SealDataset,
    SealPlan,
    StartAttempt,
    StartGeneration,
)
from kd.generation.events import (
    AttemptEnded,
    AttemptStarted,
    DatasetSealed,
    GenerationCompleted,
    GenerationEvent,
    GenerationFailed,
    GenerationRetried,
    GenerationStarted,
    LogitsCaptured,
    PlanSealed,
    ReplyReused,
    RequestRejected,
    RequestsPlanned,
    SamplesBuilt,
    TeacherBound,
    TeacherMade,
    TeacherProbed,
)
from kd.generation.states import (
    Asking,
    AskTeacher,
    Basis,
    Binding,
    BindTeacher,
    Building,
    BuildPlan,
    BuildSamples,
    Completed,
    Failed,
    Idle,
    Planning,
    ProbeTeacher,
    Probing,
    Requests,
    ScoreSamples,
    Scoring,
    Seal,
    Sealing,
    State,
    Work,
    Working,
)
from kd.stage import Outcome, Progress, Stage
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["KEYS_PER_EVENT", "KEYS_PER_WORK", "SAMPLES_PER_RANGE", "STAGE", "StartGeneration", "decide", "evolve", "pending"]

KEYS_PER_EVENT = 512
KEYS_PER_WORK = 256
SAMPLES_PER_RANGE = 8
"""Samples scored between two events: what `kill -9` can cost at most."""


def decide(command: Command, state: State) -> tuple[GenerationEvent, ...]:
    """The events that `command` brings about in `state`, or CommandRejectedError."""
    match command, state:
        case StartGeneration(config=config, inputs=inputs, seed=seed), Idle():
            return (GenerationStarted(config=config, inputs=inputs, seed=seed),)
        case RecordTeacher(fact=fact), Binding():
            return (fact,)
        case RecordProbe(fact=fact), Probing():
            return (fact,)
        case SealPlan(), Planning():
            return _sealed_plan(command, state)
        case ((StartAttempt() | EndAttempt() | ReuseReply()), Asking(requests=requests)):
            return _asked(command, requests, state)
        case RecordSamples(fact=fact), Building():
            return (fact,)
        case RecordLogits(fact=fact), Scoring():
            return _captured(fact, state, command)
        case SealDataset(fact=fact), Sealing(basis=basis):
            return (fact, GenerationCompleted(outputs=(basis.bound_teacher, fact.dataset, fact.signal)))
        case ((FailGeneration() | RetryGeneration()), _):
            return _failed_or_retried(command, state)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} does not fit the state {type(state).__name__}.")


def evolve(state: State, event: GenerationEvent) -> State:
    """The state after `event`."""
    match event:
        case GenerationStarted(config=config, inputs=inputs, seed=seed):
            return Binding(basis=Basis(config=config, inputs=inputs, seed=seed))
        case GenerationCompleted(outputs=outputs):
            return Completed(outputs=outputs)
        case GenerationFailed(step=step, reason=reason, is_retryable=is_retryable):
            assert isinstance(state, Working)
            return Failed(step=step, reason=reason, is_retryable=is_retryable, before=state)
        case GenerationRetried():
            assert isinstance(state, Failed)
            return state.before
        case TeacherMade() | TeacherBound() | TeacherProbed() | RequestsPlanned() | PlanSealed():
            return _prepared(state, event)
        case AttemptStarted() | AttemptEnded() | ReplyReused() | RequestRejected():
            assert isinstance(state, Asking)
            return _after_asking(state, _counted(state.requests, event))
        case SamplesBuilt():
            assert isinstance(state, Building)
            return Scoring(basis=state.basis, plan=state.plan, built=event)
        case LogitsCaptured():
            assert isinstance(state, Scoring)
            return _after_scoring(state, event)
        case DatasetSealed():
            return state
        case _:
            assert_never(event)


def pending(state: State) -> Work | None:
    """The work that `state` asks for."""
    match state:
        case Idle() | Completed() | Failed():
            return None
        case Binding(basis=basis):
            return BindTeacher(basis=basis)
        case Probing(basis=basis):
            return ProbeTeacher(basis=basis)
        case Planning(basis=basis):
            return BuildPlan(basis=basis)
        case Asking(basis=basis, plan=plan, requests=requests):
            keys = requests.first_open(KEYS_PER_WORK)
            return AskTeacher(basis=basis, plan=plan.plan, keys=keys, num_attempts={key: requests.num_attempts.get(key, 0) for key in keys})
        case Building(basis=basis, plan=plan, requests=requests):
            return BuildSamples(basis=basis, plan=plan.plan, replies=requests.replies, rejections=requests.rejections)
        case Scoring(basis=basis, plan=plan, built=built):
            first = state.num_scored
            num_samples = min(SAMPLES_PER_RANGE, built.num_samples - first)
            return ScoreSamples(basis=basis, plan=plan.plan, samples=built.samples, first=first, num_samples=num_samples)
        case Sealing(basis=basis, plan=plan, built=built, captured=captured):
            return Seal(basis=basis, plan=plan.plan, built=built, captured=captured)
        case _:
            assert_never(state)


def _sealed_plan(command: SealPlan, state: State) -> tuple[GenerationEvent, ...]:
    keys = command.keys
    if len(set(keys)) != len(keys) or len(keys) != command.fact.num_requests:
        raise CommandRejectedError(command, state, f"A plan of {command.fact.num_requests} requests needs as many distinct keys.")
    parts = (RequestsPlanned(keys=keys[first : first + KEYS_PER_EVENT]) for first in range(0, len(keys), KEYS_PER_EVENT))
    return (*parts, command.fact)


def _asked(command: StartAttempt | EndAttempt | ReuseReply, requests: Requests, state: State) -> tuple[GenerationEvent, ...]:
    key = command.request_key if isinstance(command, StartAttempt) else command.fact.request_key
    if key not in requests.open:
        raise CommandRejectedError(command, state, f"Request {key} is not open: it is outside the plan, or already answered or rejected.")
    match command:
        case StartAttempt(attempt=attempt):
            if attempt != requests.num_attempts.get(key, 0):
                raise CommandRejectedError(
                    command, state, f"Request {key} had {requests.num_attempts.get(key, 0)} attempts, not {attempt}."
                )
            return (AttemptStarted(request_key=key, attempt=attempt),)
        case EndAttempt(fact=fact, rejection=rejection):
            if key not in requests.in_flight or fact.attempt != requests.num_attempts[key] - 1:
                raise CommandRejectedError(command, state, f"Attempt {fact.attempt} of request {key} was not started.")
            if (fact.outcome == "accepted") != (fact.reply is not None) or (fact.outcome == "failed") != (rejection is not None):
                raise CommandRejectedError(
                    command, state, f"An attempt that {fact.outcome} carries a reply iff accepted, a reason iff failed."
                )
            return (fact,) if rejection is None else (fact, rejection)
        case ReuseReply(fact=reused):
            return (reused,)
        case _:
            assert_never(command)


def _captured(fact: LogitsCaptured, state: Scoring, command: Command) -> tuple[GenerationEvent, ...]:
    if fact.first != state.num_scored or fact.first + fact.num_samples > state.built.num_samples:
        raise CommandRejectedError(command, state, f"Samples are scored in order: the next one is {state.num_scored}, got {fact.first}.")
    return (fact,)


def _failed_or_retried(command: FailGeneration | RetryGeneration, state: State) -> tuple[GenerationEvent, ...]:
    match command, state:
        case FailGeneration(step=step, reason=reason, is_retryable=is_retryable), _ if isinstance(state, Working):
            return (GenerationFailed(step=step, reason=reason, is_retryable=is_retryable),)
        case RetryGeneration(), Failed(is_retryable=True):
            return (GenerationRetried(),)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} does not fit the state {type(state).__name__}.")


def _prepared(state: State, event: TeacherMade | TeacherBound | TeacherProbed | RequestsPlanned | PlanSealed) -> State:
    match event, state:
        case ((TeacherMade() | TeacherBound()), Binding(basis=basis)):
            bound = Basis(config=basis.config, inputs=basis.inputs, seed=basis.seed, teacher=event.teacher, fingerprint=event.fingerprint)
            return Probing(basis=bound)
        case TeacherProbed(), Probing(basis=basis):
            return Planning(basis=basis)
        case RequestsPlanned(keys=keys), Planning(basis=basis, requests=requests):
            return Planning(basis=basis, requests=requests.planned(keys))
        case PlanSealed(), Planning(basis=basis, requests=requests):
            return _after_asking(Asking(basis=basis, plan=event, requests=requests), requests)
        case _:
            raise AssertionError(f"{type(event).__name__} was recorded in the state {type(state).__name__}")


def _counted(requests: Requests, event: AttemptStarted | AttemptEnded | ReplyReused | RequestRejected) -> Requests:
    match event:
        case AttemptStarted(request_key=key):
            return requests.started(key)
        case AttemptEnded():
            return requests.ended(event)
        case ReplyReused(request_key=key, reply=reply):
            return requests.answered(key, reply)
        case RequestRejected(request_key=key, kind=kind):
            return requests.rejected(key, kind)
        case _:
            assert_never(event)


def _after_asking(state: Asking, requests: Requests) -> Asking | Building:
    if requests.open:
        return Asking(basis=state.basis, plan=state.plan, requests=requests)
    return Building(basis=state.basis, plan=state.plan, requests=requests)


def _after_scoring(state: Scoring, event: LogitsCaptured) -> Scoring | Sealing:
    captured = (*state.captured, event)
    if sum(part.num_samples for part in captured) < state.built.num_samples:
        return Scoring(basis=state.basis, plan=state.plan, built=state.built, captured=captured)
    return Sealing(basis=state.basis, plan=state.plan, built=state.built, captured=captured)


def _outcome(state: State) -> Outcome | None:
    return state if isinstance(state, Completed | Failed) else None


def _progress(state: State) -> Progress | None:
    match state:
        case Asking(requests=requests):
            return Progress(done=len(requests.keys) - len(requests.open), total=len(requests.keys), unit="replies")
        case Scoring(built=built):
            return Progress(done=state.num_scored, total=built.num_samples, unit="samples scored")
        case _:
            return None


STAGE = Stage(
    name="generation",
    decider=Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending),
    start=lambda config, inputs, seed: StartGeneration(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailGeneration(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryGeneration,
    outcome=_outcome,
    progress=_progress,
    executor="kd.generation.executor:execute",
)
