"""Does the work of the training stage: prepares, executes steps, measures, writes the student.

The safe point is an optimiser step. Told to stop, it writes a checkpoint first; told to stop at once, it does not, and the
steps since the last checkpoint are executed again on resume.
"""

from __future__ import annotations

from typing import assert_never

from kd.errors import StageError
from kd.models.arithmetic import exact_arithmetic
from kd.ports import Ports
from kd.stage import Tell, Wish
from kd.training.commands import Command, CompleteTraining, RecordReproductionFailure, RecordStep, RecordValidation
from kd.training.events import StepCompleted
from kd.training.loop import Trainer
from kd.training.preparation import keep_student, prepare
from kd.training.session import Session, open_session
from kd.training.states import Course, Prepare, RunSteps, Seal, Validate, Work
from kd.training.validation import validate

__all__ = ["execute"]

_MAX_SKIPPED = 3


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """Do `work`; the command that records its result, or None if the run was told to stop."""
    match work:
        case Prepare(job=job):
            with exact_arithmetic(job.config.threads):
                return prepare(job, ports)
        case RunSteps(course=course, until=until):
            return _run_steps(course, until, ports, tell)
        case Validate(course=course):
            return _validate(course, ports, tell)
        case Seal(course=course):
            return _seal(course, ports, tell)
        case _:
            assert_never(work)


def _run_steps(course: Course, until: int, ports: Ports, tell: Tell) -> Command | None:
    session = _session(course, ports)
    trainer = session.bring_to(course, ports, tell)
    if not isinstance(trainer, Trainer):
        return trainer
    num_skipped = course.num_skipped
    while True:
        event = trainer.run(session.batch(course, trainer.step + 1))
        command = RecordStep(event=event)
        num_skipped = 0 if isinstance(event, StepCompleted) else num_skipped + 1
        if trainer.step == until and num_skipped < _MAX_SKIPPED and tell() is Wish.GO_ON:
            return command
        wish = tell(command)
        if num_skipped >= _MAX_SKIPPED:
            raise StageError(
                "RunSteps",
                f"{num_skipped} steps in a row had no finite loss and gradient, the last one step {trainer.step}: lower the learning rate.",
                is_retryable=False,
            )
        if wish is Wish.STOP_NOW:
            return None
        if wish is Wish.STOP or session.is_checkpoint_due(course):
            wish = tell(session.save(course, ports))
        if wish is not Wish.GO_ON or trainer.step == until:
            return None


def _validate(course: Course, ports: Ports, tell: Tell) -> Command | None:
    session = _session(course, ports)
    trainer = session.bring_to(course, ports, tell)
    if not isinstance(trainer, Trainer):
        return trainer
    metrics, num_tokens = validate(trainer.student, session.data.val, course.job.config)
    return RecordValidation(step=course.step, metrics=metrics, num_rows=len(session.data.val), num_tokens=num_tokens)


def _seal(course: Course, ports: Ports, tell: Tell) -> Command | None:
    trainer = _session(course, ports).bring_to(course, ports, tell)
    if trainer is None or isinstance(trainer, RecordReproductionFailure):
        return trainer
    return CompleteTraining(outputs=(keep_student(trainer.student, "student", course.job, ports), course.student))


def _session(course: Course, ports: Ports) -> Session:
    return ports.resources.get("training", lambda: open_session(course, ports))
