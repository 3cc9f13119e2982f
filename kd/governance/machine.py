"""The governance stage as a pure machine: admit evidence, hold gates against it, issue one verdict, hand it over.

It refuses a gate result that does not follow from the evidence it names, and a verdict that does not follow from the gates.
A verdict that needs waivers, or lapsed with one, can be decided again, once for each time that some are granted: see kd.governance.waivers.
"""

from __future__ import annotations

from typing import assert_never

from attrs import evolve as replace

from kd.artifacts import Artifact
from kd.evidence import GateResult, evaluate_gate
from kd.governance.commands import (
    AdmitEvidence,
    AnswerWaiver,
    Command,
    CompleteGovernance,
    FailGovernance,
    IssueVerdict,
    Reconsider,
    RecordGates,
    RefuseEvidence,
    RetryGovernance,
    StartGovernance,
)
from kd.governance.events import (
    EvidenceAdmitted,
    EvidenceRefused,
    GateEvaluated,
    GovernanceCompleted,
    GovernanceFailed,
    GovernanceRetried,
    GovernanceStarted,
    VerdictIssued,
    WaiverAccepted,
    WaiverApplied,
    WaiverRejected,
)
from kd.governance.states import (
    Completed,
    Decide,
    DecideAgain,
    Deliberating,
    EvaluateGates,
    Failed,
    Idle,
    Job,
    Pleading,
    Publish,
    Publishing,
    ReadEvidence,
    Reconsidering,
    State,
    Trying,
    Work,
)
from kd.governance.verdict import Evidence, Refusal, Verdict, derive, is_evidence, subjects_of
from kd.governance.waiver_acceptance import acceptance_problems
from kd.governance.waivers import WaiverBook, to_waive, waive
from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Outcome, Progress, Stage
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["DECIDER", "STAGE", "Event", "Job", "book_of", "decide", "evolve", "pending", "verdict_from", "verdict_of"]

Event = (
    GovernanceStarted
    | EvidenceAdmitted
    | EvidenceRefused
    | GateEvaluated
    | VerdictIssued
    | WaiverAccepted
    | WaiverRejected
    | WaiverApplied
    | GovernanceCompleted
    | GovernanceFailed
    | GovernanceRetried
)


def verdict_of(state: State) -> Verdict | None:
    """The verdict, once it stands."""
    return state.verdict if isinstance(state, Publishing | Completed | Reconsidering) else None


def book_of(state: State) -> WaiverBook | None:
    """The waivers of the judgement, once there is a verdict."""
    state = state.before if isinstance(state, Failed) else state
    return state.book if isinstance(state, Publishing | Completed | Reconsidering) else None


def decide(command: Command, state: State) -> tuple[Event, ...]:
    """The events that `command` causes in `state`."""
    match command, state:
        case StartGovernance(), Idle():
            return (GovernanceStarted(config=command.config, inputs=command.inputs, seed=command.seed),)
        case AdmitEvidence(), Pleading():
            _require(_evidence_problem(command.evidence, state), command, state)
            return (EvidenceAdmitted(evidence=command.evidence),)
        case RefuseEvidence(), Pleading():
            _require(_evidence_problem(command.refusal, state), command, state)
            return (EvidenceRefused(refusal=command.refusal),)
        case RecordGates(), Trying():
            _require(_gates_problem(command.results, state), command, state)
            return tuple(GateEvaluated(result=result) for result in command.results)
        case IssueVerdict(), Deliberating():
            follows = command.verdict == verdict_from(state.job, state.admitted, state.refused, state.results)
            _require(None if follows else "the verdict does not follow from the gates and the evidence", command, state)
            return (VerdictIssued(verdict=command.verdict),)
        case AnswerWaiver() | Reconsider(), Completed() | Reconsidering():
            return _judge_again(command, state)
        case CompleteGovernance(), Publishing():
            return (GovernanceCompleted(outputs=command.outputs),)
        case FailGovernance(), Pleading() | Trying() | Deliberating() | Publishing() | Reconsidering():
            return (GovernanceFailed(step=command.step, reason=command.reason, is_retryable=command.is_retryable),)
        case RetryGovernance(), Failed(is_retryable=True):
            return (GovernanceRetried(),)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} is not possible while {type(state).__name__}")


def evolve(state: State, event: Event) -> State:
    """What is so after `event`."""
    match event, state:
        case GovernanceStarted(), _:
            return _settled(Pleading(job=Job(config=event.config, inputs=event.inputs, seed=event.seed)))
        case EvidenceAdmitted(), Pleading():
            return _settled(replace(state, admitted=(*state.admitted, event.evidence)))
        case EvidenceRefused(), Pleading():
            return _settled(replace(state, refused=(*state.refused, event.refusal)))
        case GateEvaluated(), Trying():
            return _settled(replace(state, results=(*state.results, event.result)))
        case VerdictIssued(), Deliberating() | Reconsidering():
            return Publishing(results=state.results, verdict=event.verdict, book=_book_after(state, event.verdict))
        case WaiverAccepted() | WaiverRejected() | WaiverApplied(), Completed() | Reconsidering():
            return _with_waiver(state, event)
        case GovernanceCompleted(), Publishing():
            return Completed(outputs=event.outputs, results=state.results, verdict=state.verdict, book=state.book)
        case GovernanceFailed(), Pleading() | Trying() | Deliberating() | Publishing() | Reconsidering():
            return Failed(step=event.step, reason=event.reason, is_retryable=event.is_retryable, before=state)
        case GovernanceRetried(), Failed():
            return state.before
        case _:
            return state


def pending(state: State) -> Work | None:
    """The work that `state` asks for."""
    match state:
        case Pleading():
            return ReadEvidence(artifact=_unread(state)[0])
        case Trying():
            digests = {evidence.digest for evidence in state.admitted}
            artifacts = tuple(artifact for artifact in state.job.inputs if is_evidence(artifact) and artifact.digest in digests)
            return EvaluateGates(config=state.job.config, artifacts=artifacts)
        case Deliberating():
            return Decide(job=state.job, admitted=state.admitted, refused=state.refused, results=state.results)
        case Reconsidering():
            return DecideAgain()
        case Publishing():
            return Publish(verdict=state.verdict)
        case Idle() | Completed() | Failed():
            return None
        case _:
            assert_never(state)


def verdict_from(job: Job, admitted: tuple[Evidence, ...], refused: tuple[Refusal, ...], results: tuple[GateResult, ...]) -> Verdict:
    """The verdict that follows from what the machine knows."""
    return derive(
        purpose=job.config.purpose,
        candidate=subjects_of(job.inputs),
        gate_set=job.config.gates,
        results=results,
        admitted=admitted,
        refused=refused,
    )


def _judge_again(command: AnswerWaiver | Reconsider, state: Completed | Reconsidering) -> tuple[Event, ...]:
    if isinstance(command, AnswerWaiver):
        return (_answer(command, state),)
    _require(None if isinstance(state, Reconsidering) else "no waiver was accepted since the verdict", command, state)
    verdict = waive(state.verdict, state.book, command.now_ms)
    return (*(WaiverApplied(applied=applied) for applied in verdict.waivers), VerdictIssued(verdict=verdict))


def _answer(command: AnswerWaiver, state: Completed | Reconsidering) -> WaiverAccepted | WaiverRejected:
    waiver, now_ms = command.waiver, command.now_ms
    _require(f"waiver {waiver.id} was answered already" if waiver.id in state.book.answered else None, command, state)
    problems = acceptance_problems(waiver, to_waive(state.verdict, state.book, now_ms), state.book, now_ms)
    if problems:
        return WaiverRejected(id=waiver.id, request=command.request, reason=" ".join(problems), decided_at_ms=now_ms)
    return WaiverAccepted(waiver=waiver, request=command.request, decided_at_ms=now_ms)


def _with_waiver(state: Completed | Reconsidering, event: WaiverAccepted | WaiverRejected | WaiverApplied) -> Completed | Reconsidering:
    book = state.book
    match event:
        case WaiverAccepted(waiver=waiver):
            accepted = replace(book, accepted=(*book.accepted, waiver), answered=(*book.answered, waiver.id), base=None)
            return Reconsidering(results=state.results, verdict=book.base or state.verdict, book=accepted)
        case WaiverRejected(id=id_):
            return replace(state, book=replace(book, answered=(*book.answered, id_)))
        case WaiverApplied(applied=applied):
            return replace(state, book=replace(book, used=(*book.used, applied)))


def _book_after(state: Deliberating | Reconsidering, verdict: Verdict) -> WaiverBook:
    if isinstance(state, Deliberating):
        return WaiverBook(policy=state.job.config.waivers)
    return replace(state.book, base=state.verdict) if verdict.waivers else state.book


def _settled(state: Pleading | Trying) -> Pleading | Trying | Deliberating:
    """`state`, or the one after it where nothing is left to do."""
    if isinstance(state, Pleading):
        if _unread(state):
            return state
        state = Trying(job=state.job, admitted=state.admitted, refused=state.refused)
    if len(state.results) < len(state.job.config.gates.gates):
        return state
    return Deliberating(job=state.job, admitted=state.admitted, refused=state.refused, results=state.results)


def _unread(state: Pleading) -> tuple[Artifact, ...]:
    read = {evidence.digest for evidence in state.admitted} | {refusal.digest for refusal in state.refused}
    return tuple(artifact for artifact in state.job.inputs if is_evidence(artifact) and artifact.digest not in read)


def _require(problem: str | None, command: Command, state: State) -> None:
    if problem is not None:
        raise CommandRejectedError(command, state, problem)


def _evidence_problem(evidence: Evidence | Refusal, state: Pleading) -> str | None:
    is_known = any((artifact.kind, artifact.digest) == (evidence.kind, evidence.digest) for artifact in _unread(state))
    return None if is_known else f"evidence {evidence.kind} {evidence.digest} is not among the inputs, or was already read"


def _gates_problem(results: tuple[GateResult, ...], state: Trying) -> str | None:
    if tuple(result.gate for result in results) != state.job.config.gates.gates:
        return f"the results are not those of the gates of set {state.job.config.gates.name}, each once and in order"
    for result in results:
        if result != evaluate_gate(result.gate, result.evidence):
            return f"the result of gate {result.gate.id} does not follow from the evidence it names"
    return None


def _outcome(state: State) -> Outcome | None:
    match state:
        case Completed():
            return StageCompleted(outputs=state.outputs)
        case Failed():
            return StageFailed(step=state.step, reason=state.reason, is_retryable=state.is_retryable)
        case _:
            return None


def _progress(state: State) -> Progress | None:
    if not isinstance(state, Trying | Deliberating):
        return None
    return Progress(done=len(state.results), total=len(state.job.config.gates.gates), unit="gates")


DECIDER: Decider[Command, State, Event, Work] = Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending)

STAGE = Stage(
    name="governance",
    decider=DECIDER,
    start=lambda config, inputs, seed: StartGovernance(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailGovernance(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryGovernance,
    outcome=_outcome,
    progress=_progress,
    executor="kd.governance.executor:execute",
)
