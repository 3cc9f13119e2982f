"""The training machine: given events, when a command, then events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from attrs import evolve as replace

from kd.artifacts import Artifact, FileRef
from kd.stage import Completed, Failed, Progress
from kd.training import commands as c
from kd.training.config import CheckpointConfig, TrainingConfig, ValidateConfig
from kd.training.events import (
    ENTRIES,
    BatchesPlanned,
    CheckpointRejected,
    CheckpointSaved,
    Environment,
    HealthWarned,
    ReproductionFailed,
    StepCompleted,
    StepSkipped,
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
from kd.training.machine import DECIDER, STAGE
from kd.training.states import Prepare, Preparing, RunSteps, Seal, Training, Underway, Validate
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.record import BlobRef
from ledger.registry import Registry
from ledger.testing import decide_given

BLOB = BlobRef(sha256="a" * 64, num_bytes=3)
STUDENT = Artifact(kind="student", files=(FileRef(path="weights.safetensors", blob=BLOB),))
HERE = Environment(processor="x", instruction_set="AVX2", threads=2, torch="2")
CONFIG = TrainingConfig(steps=6, validate=ValidateConfig(every_steps=4), checkpoint=CheckpointConfig(every_steps=2))
STARTED = TrainingStarted(config=CONFIG, inputs=(), seed=1)
BOUND = VocabularyBound(decision="exact", tokenizer="t", num_shared=9)
INITIALISED = StudentInitialised(student=STUDENT, init="random", layers=(), num_params=5, environment=HERE)
PLANNED = BatchesPlanned(
    plan=BLOB,
    num_rows=3,
    num_val_rows=2,
    num_steps=6,
    num_epochs=1.0,
    num_tokens=9,
    num_supervised_tokens=5,
    num_term_tokens={},
    term_weights={"kd": 1.0},
    dropped={},
    padding_fraction=0.0,
)
PREPARED: tuple[TrainingEvent, ...] = (STARTED, BOUND, INITIALISED, PLANNED)


def step(number: int, grad_norm: float = 1.0) -> StepCompleted:
    """A step."""
    return StepCompleted(
        step=number,
        loss_nats=2.0,
        loss_bits=f"{number:016x}",
        parts=(),
        num_tokens=5,
        batch_digest=f"batch {number}",
        grad_norm=grad_norm,
        grad_norm_bits="0" * 16,
        lr=1e-3,
        seconds=0.1,
        peak_bytes=1,
    )


def steps(first: int, last: int) -> tuple[StepCompleted, ...]:
    """Several steps."""
    return tuple(step(number) for number in range(first, last + 1))


def saved(number: int) -> CheckpointSaved:
    return CheckpointSaved(step=number, checkpoint=STUDENT, position=number)


def course_after(events: Sequence[TrainingEvent]) -> Underway:
    state = fold(DECIDER, events)
    assert not isinstance(state, Preparing)
    return state  # type: ignore[return-value]  # the events lead to a state at work


VALIDATED = ValidationCompleted(step=4, metrics=(), num_rows=2, num_tokens=3)


def test_a_training_is_prepared_first() -> None:
    """Starting asks for preparation, whose three facts are recorded together."""
    assert decide_given(DECIDER, [], c.StartTraining(config=CONFIG, inputs=(), seed=1)) == (STARTED,)
    assert isinstance(DECIDER.pending(fold(DECIDER, [STARTED])), Prepare)
    command = c.RecordPreparation(vocabulary=BOUND, student=INITIALISED, batches=PLANNED)
    assert decide_given(DECIDER, [STARTED], command) == (BOUND, INITIALISED, PLANNED)


def test_steps_validations_and_sealing_take_turns() -> None:
    """Steps run to the next validation or the end; the student is measured there and sealed after the last."""
    work = DECIDER.pending(fold(DECIDER, PREPARED))
    assert isinstance(work, RunSteps)
    assert work.until == 4
    assert isinstance(DECIDER.pending(fold(DECIDER, [*PREPARED, *steps(1, 4)])), Validate)
    work = DECIDER.pending(fold(DECIDER, [*PREPARED, *steps(1, 4), VALIDATED]))
    assert isinstance(work, RunSteps)
    assert work.until == 6
    done = [*PREPARED, *steps(1, 4), VALIDATED, *steps(5, 6)]
    assert isinstance(DECIDER.pending(fold(DECIDER, done)), Validate)
    assert isinstance(DECIDER.pending(fold(DECIDER, [*done, replace(VALIDATED, step=6)])), Seal)


def test_without_validation_rows_nothing_is_measured() -> None:
    """The plan says that there are none, and no validation is due."""
    given = [STARTED, BOUND, INITIALISED, replace(PLANNED, num_val_rows=0), *steps(1, 6)]
    assert isinstance(DECIDER.pending(fold(DECIDER, given)), Seal)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_step_that_does_not_follow_is_rejected(number: int) -> None:
    """No step is recorded twice or left out."""
    with pytest.raises(CommandRejectedError, match=f"Step {number} does not follow step 3" if number != 4 else ""):
        decide_given(DECIDER, [*PREPARED, *steps(1, 3)], c.RecordStep(event=step(number)))
    assert decide_given(DECIDER, [*PREPARED, *steps(1, 3)], c.RecordStep(event=step(4))) == (step(4),)


def test_sealing_before_the_last_step_is_rejected() -> None:
    """A student is handed over when all steps are done."""
    with pytest.raises(CommandRejectedError, match="CompleteTraining is not possible while steps are open"):
        decide_given(DECIDER, [*PREPARED, *steps(1, 3)], c.CompleteTraining(outputs=(STUDENT,)))


@pytest.mark.parametrize("given", [[], [STARTED], [*PREPARED, TrainingCompleted(outputs=())]])
def test_a_step_outside_training_is_rejected(given: list[TrainingEvent]) -> None:
    """Before preparation and after completion there are no steps."""
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, given, c.RecordStep(event=step(1)))


def test_a_checkpoint_is_of_the_last_step_and_saved_once() -> None:
    """Another step's state is refused."""
    command = c.RecordCheckpoint(step=2, checkpoint=STUDENT, position=2)
    assert decide_given(DECIDER, [*PREPARED, *steps(1, 2)], command) == (saved(2),)
    for given in ([*PREPARED, *steps(1, 3)], [*PREPARED, *steps(1, 2), saved(2)]):
        with pytest.raises(CommandRejectedError):
            decide_given(DECIDER, given, command)


def test_steps_are_remembered_since_the_oldest_kept_checkpoint() -> None:
    """Three checkpoints are kept, and what a resume from any of them has to repeat."""
    given: list[TrainingEvent] = [STARTED, BOUND, INITIALISED, replace(PLANNED, num_val_rows=0)]
    for number in range(1, 6):
        given += [step(number), saved(number)]
    course = course_after(given).course
    assert [checkpoint.step for checkpoint in course.checkpoints] == [3, 4, 5]
    assert [record.step for record in course.records] == [4, 5]


def test_a_rejected_checkpoint_is_marked_and_not_rejected_twice() -> None:
    """It stays known, so that a run whose checkpoints are all damaged does not begin anew unseen."""
    given = [*PREPARED, *steps(1, 2), saved(2), CheckpointRejected(step=2, file="weights.safetensors", reason="altered")]
    assert course_after(given).course.checkpoints[0].is_rejected
    with pytest.raises(CommandRejectedError, match="no checkpoint that could be rejected"):
        decide_given(DECIDER, given, c.RejectCheckpoint(step=2, file="x", reason="y"))


def test_a_step_that_came_out_otherwise_ends_the_training() -> None:
    """Both facts are recorded, and nothing can retry it."""
    command = c.RecordReproductionFailure(step=2, field="loss_bits", recorded="a", found="b")
    given = [*PREPARED, *steps(1, 3)]
    events = decide_given(DECIDER, given, command)
    assert [type(event) for event in events] == [ReproductionFailed, TrainingFailed]
    outcome = STAGE.outcome(fold(DECIDER, [*given, *events]))
    assert isinstance(outcome, Failed)
    assert not outcome.is_retryable
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, [*given, *events], c.RetryTraining())


def test_steps_remember_where_they_were_executed() -> None:
    """After a resume in another environment, older steps keep theirs."""
    there = replace(HERE, instruction_set="AVX512")
    given = [*PREPARED, step(1), TrainingResumed(step=1, checkpoint=0, environment=there), step(2)]
    assert [record.environment for record in course_after(given).course.records] == [HERE, there]


def test_a_retryable_failure_goes_back_to_where_it_was() -> None:
    """The steps so far are kept."""
    given = [*PREPARED, *steps(1, 3)]
    failed = TrainingFailed(step="RunSteps", reason="disk", is_retryable=True)
    assert decide_given(DECIDER, given, c.FailTraining(step="RunSteps", reason="disk", is_retryable=True)) == (failed,)
    assert decide_given(DECIDER, [*given, failed], c.RetryTraining()) == (TrainingRetried(),)
    assert fold(DECIDER, [*given, failed, TrainingRetried()]) == fold(DECIDER, given)


def test_skipped_steps_are_counted_in_a_row() -> None:
    """A step that completes begins the count anew."""
    skipped = StepSkipped(step=2, reason="nan", batch_digest="b", loss_bits="l", grad_norm_bits="g")
    given = [*PREPARED, step(1), skipped, replace(skipped, step=3)]
    assert course_after(given).course.num_skipped == 2
    assert course_after([*given, step(4)]).course.num_skipped == 0


def test_a_gradient_far_above_the_usual_is_warned_of() -> None:
    """Ten times the median of the last steps, once there are fifty."""
    config = replace(CONFIG, steps=100, validate=ValidateConfig(every_steps=100))
    given = [replace(STARTED, config=config), BOUND, INITIALISED, PLANNED, *steps(1, 50)]
    calm = decide_given(DECIDER, given, c.RecordStep(event=step(51, grad_norm=9.9)))
    wild = decide_given(DECIDER, given, c.RecordStep(event=step(51, grad_norm=10.1)))
    assert calm == (step(51, grad_norm=9.9),)
    assert wild == (step(51, grad_norm=10.1), HealthWarned(step=51, monitor="gradient_norm", value=10.1, limit=10.0))
    assert isinstance(fold(DECIDER, [*given, *wild]), Training)


def test_progress_and_outcome_are_read_from_the_state() -> None:
    """Steps done of steps planned, kept through a failure; outputs at the end."""
    given = [*PREPARED, *steps(1, 3)]
    assert STAGE.progress(fold(DECIDER, given)) == Progress(done=3, total=6, unit="step")
    failed = TrainingFailed(step="RunSteps", reason="x", is_retryable=True)
    assert STAGE.progress(fold(DECIDER, [*given, failed])) == Progress(done=3, total=6, unit="step")
    assert STAGE.outcome(fold(DECIDER, given)) is None
    assert STAGE.outcome(fold(DECIDER, [*given, TrainingCompleted(outputs=(STUDENT,))])) == Completed(outputs=(STUDENT,))


def test_all_events_can_be_registered_and_stored_under_their_names() -> None:
    """Names are written out, and only steps are metrics."""
    Registry(ENTRIES)
    assert {entry.name for entry in ENTRIES if entry.durability.value == "metric"} == {"training.step_completed"}
    assert math.isfinite(step(1).loss_nats)
