"""The training stage as a pure state machine.

Idle → Preparing → Training ⇄ Validating → Sealing → Completed; from every state at work to Failed and, where another try can
help, back. Steps are recorded once and in order; what a process that died had executed is executed again and must give the
recorded bits.
"""

from __future__ import annotations

from statistics import median
from typing import assert_never

from attrs import evolve as replace

from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Outcome, Progress, Stage
from kd.training.commands import (
    Command,
    CompleteTraining,
    FailTraining,
    RecordCheckpoint,
    RecordPreparation,
    RecordReproduction,
    RecordReproductionFailure,
    RecordStep,
    RecordValidation,
    RejectCheckpoint,
    ResumeTraining,
    RetryTraining,
    StartTraining,
)
from kd.training.events import (
    BatchesPlanned,
    CheckpointRejected,
    CheckpointSaved,
    HealthWarned,
    ReproductionFailed,
    StepCompleted,
    StepSkipped,
    StepsReproduced,
    StudentInitialised,
    TrainingCompleted,
    TrainingEvent,
    TrainingFailed,
    TrainingResumed,
    TrainingRetried,
    TrainingStarted,
    ValidationCompleted,
    VocabularyBound,
)
from kd.training.states import (
    Checkpoint,
    Completed,
    Course,
    Failed,
    Idle,
    Job,
    Prepare,
    Preparing,
    RunSteps,
    Seal,
    Sealing,
    State,
    StepRecord,
    Training,
    Underway,
    Validate,
    Validating,
    Work,
)
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["DECIDER", "STAGE", "decide", "evolve", "pending"]

_NUM_CHECKPOINTS = 3
_NUM_GRAD_NORMS = 200
_MIN_GRAD_NORMS = 50
_GRAD_NORM_FACTOR = 10.0


def decide(command: Command, state: State) -> tuple[TrainingEvent, ...]:
    """The events that `command` means in `state`; CommandRejectedError if it may not be now."""
    match command, state:
        case StartTraining(config=config, inputs=inputs, seed=seed), Idle():
            return (TrainingStarted(config=config, inputs=inputs, seed=seed),)
        case RecordPreparation(vocabulary=vocabulary, student=student, batches=batches), Preparing():
            return (vocabulary, student, batches)
        case RecordStep(event=event), Training(course=course):
            return _recorded_step(command, event, state, course)
        case RecordValidation(), Validating(course=course):
            _require(command.step == course.step, command, state, f"The last step is {course.step}, not {command.step}.")
            return (
                ValidationCompleted(step=command.step, metrics=command.metrics, num_rows=command.num_rows, num_tokens=command.num_tokens),
            )
        case CompleteTraining(outputs=outputs), Sealing():
            return (TrainingCompleted(outputs=outputs),)
        case FailTraining(step=step, reason=reason, is_retryable=is_retryable), Preparing() | Training() | Validating() | Sealing():
            return (TrainingFailed(step=step, reason=reason, is_retryable=is_retryable),)
        case RetryTraining(), Failed(is_retryable=True):
            return (TrainingRetried(),)
        case _, Training(course=course) | Validating(course=course) | Sealing(course=course):
            return _of_restoring(command, state, course)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} is not possible while {_what(state)}.")


def evolve(state: State, event: TrainingEvent) -> State:
    """What is so after `event`."""
    match event:
        case TrainingStarted(config=config, inputs=inputs, seed=seed):
            return Preparing(job=Job(config=config, inputs=inputs, seed=seed))
        case StudentInitialised(student=student, environment=environment):
            assert isinstance(state, Preparing)
            return replace(state, student=student, environment=environment)
        case BatchesPlanned():
            assert isinstance(state, Preparing)
            assert state.student is not None
            assert state.environment is not None
            course = Course(
                job=state.job,
                student=state.student,
                plan=event.plan,
                num_val_rows=event.num_val_rows,
                term_weights=event.term_weights,
                environment=state.environment,
            )
            return Training(course=course)
        case TrainingCompleted(outputs=outputs):
            return Completed(outputs=outputs)
        case TrainingFailed(step=step, reason=reason, is_retryable=is_retryable):
            assert isinstance(state, Preparing | Training | Validating | Sealing)
            return Failed(step=step, reason=reason, is_retryable=is_retryable, before=state)
        case TrainingRetried():
            assert isinstance(state, Failed)
            return state.before
        case VocabularyBound() | StepsReproduced() | ReproductionFailed() | HealthWarned():
            return state
        case StepCompleted() | StepSkipped() | ValidationCompleted() | CheckpointSaved() | CheckpointRejected() | TrainingResumed():
            assert isinstance(state, Training | Validating | Sealing)
            return _at(_advance(state.course, event))
        case _:
            assert_never(event)


def pending(state: State) -> Work | None:
    """The work that is due."""
    match state:
        case Idle() | Completed() | Failed():
            return None
        case Preparing(job=job):
            return Prepare(job=job)
        case Training(course=course):
            config = course.job.config
            next_validation = (course.step // config.validate.every_steps + 1) * config.validate.every_steps
            return RunSteps(course=course, until=min(config.steps, next_validation))
        case Validating(course=course):
            return Validate(course=course)
        case Sealing(course=course):
            return Seal(course=course)
        case _:
            assert_never(state)


def _recorded_step(command: Command, event: StepCompleted | StepSkipped, state: State, course: Course) -> tuple[TrainingEvent, ...]:
    _require(event.step == course.step + 1, command, state, f"Step {event.step} does not follow step {course.step}.")
    if isinstance(event, StepSkipped) or len(course.grad_norms) < _MIN_GRAD_NORMS:
        return (event,)
    limit = _GRAD_NORM_FACTOR * median(course.grad_norms)
    if event.grad_norm <= limit:
        return (event,)
    return (event, HealthWarned(step=event.step, monitor="gradient_norm", value=event.grad_norm, limit=limit))


def _of_restoring(command: Command, state: Underway, course: Course) -> tuple[TrainingEvent, ...]:
    """Events about checkpoints and their use, which may come at any time once steps can be executed."""
    match command:
        case RecordCheckpoint(step=step, checkpoint=checkpoint, position=position):
            _require(step == course.step, command, state, f"The last step is {course.step}, not {step}.")
            _require(step not in {known.step for known in course.checkpoints}, command, state, f"Step {step} has a checkpoint already.")
            return (CheckpointSaved(step=step, checkpoint=checkpoint, position=position),)
        case RejectCheckpoint(step=step, file=file, reason=reason):
            is_open = step in {known.step for known in course.checkpoints if not known.is_rejected}
            _require(is_open, command, state, f"Step {step} has no checkpoint that could be rejected.")
            return (CheckpointRejected(step=step, file=file, reason=reason),)
        case ResumeTraining(checkpoint=checkpoint, environment=environment):
            return (TrainingResumed(step=course.step, checkpoint=checkpoint, environment=environment),)
        case RecordReproduction(first=first, last=last, result=result, difference=difference):
            _require(last <= course.step, command, state, f"Step {last} is not recorded yet: the last one is {course.step}.")
            return (StepsReproduced(first=first, last=last, result=result, difference=difference),)
        case RecordReproductionFailure(step=step, field=field, recorded=recorded, found=found):
            reason = (
                f"Step {step} was executed again and its {field} is {found}, recorded is {recorded}: code, data or hardware changed"
                " under the run; start a new run."
            )
            return (
                ReproductionFailed(step=step, field=field, recorded=recorded, found=found),
                TrainingFailed(step="RunSteps", reason=reason, is_retryable=False),
            )
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} is not possible while {_what(state)}.")


def _advance(
    course: Course,
    event: StepCompleted | StepSkipped | ValidationCompleted | CheckpointSaved | CheckpointRejected | TrainingResumed,
) -> Course:
    match event:
        case StepCompleted() | StepSkipped():
            record = StepRecord(
                step=event.step,
                batch_digest=event.batch_digest,
                loss_bits=event.loss_bits,
                grad_norm_bits=event.grad_norm_bits,
                environment=course.environment,
            )
            advanced = replace(course, step=event.step, records=(*course.records, record))
            if isinstance(event, StepSkipped):
                return replace(advanced, num_skipped=course.num_skipped + 1)
            return replace(advanced, num_skipped=0, grad_norms=(*course.grad_norms, event.grad_norm)[-_NUM_GRAD_NORMS:])
        case ValidationCompleted(step=step):
            return replace(course, validated=step)
        case CheckpointSaved(step=step, checkpoint=artifact):
            kept = (*course.checkpoints, Checkpoint(step=step, artifact=artifact))[-_NUM_CHECKPOINTS:]
            return replace(course, checkpoints=kept, records=tuple(r for r in course.records if r.step > kept[0].step))
        case CheckpointRejected(step=step):
            return replace(course, checkpoints=tuple(replace(c, is_rejected=True) if c.step == step else c for c in course.checkpoints))
        case TrainingResumed(environment=environment):
            return replace(course, environment=environment)
        case _:
            assert_never(event)


def _at(course: Course) -> Underway:
    """The state that `course` is in."""
    config = course.job.config
    is_last = course.step == config.steps
    is_due = course.step > 0 and (is_last or course.step % config.validate.every_steps == 0)
    if is_due and course.num_val_rows and course.validated < course.step:
        return Validating(course=course)
    return Sealing(course=course) if is_last else Training(course=course)


def _require(holds: bool, command: object, state: object, reason: str) -> None:
    if not holds:
        raise CommandRejectedError(command, state, reason)


def _what(state: State) -> str:
    return {
        Idle: "training has not started",
        Completed: "training is complete",
        Failed: "training has failed",
        Preparing: "training is being prepared",
        Training: "steps are open",
        Validating: "the student is being measured",
        Sealing: "the student is being sealed",
    }[type(state)]


def _outcome(state: State) -> Outcome | None:
    match state:
        case Completed(outputs=outputs):
            return StageCompleted(outputs=outputs)
        case Failed(step=step, reason=reason, is_retryable=is_retryable):
            return StageFailed(step=step, reason=reason, is_retryable=is_retryable)
        case _:
            return None


def _progress(state: State) -> Progress | None:
    match state:
        case Failed(before=before):
            return _progress(before)
        case Training(course=course) | Validating(course=course) | Sealing(course=course):
            return Progress(done=course.step, total=course.job.config.steps, unit="step")
        case _:
            return None


DECIDER: Decider[Command, State, TrainingEvent, Work] = Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending)

STAGE = Stage(
    name="training",
    decider=DECIDER,
    start=lambda config, inputs, seed: StartTraining(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailTraining(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryTraining,
    outcome=_outcome,
    progress=_progress,
    executor="kd.training.executor:execute",
)
