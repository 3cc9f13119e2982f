"""A training under way in this process: its data, its plan, and a trainer brought to the recorded step.

Going on after a crash means: the newest checkpoint whose every byte is right, else the one before, else the beginning; then the
recorded steps after it once more, each of which must give the recorded bits.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from attrs import define

from kd.models.arithmetic import exact_arithmetic
from kd.models.student import load_student
from kd.ports import Ports
from kd.stage import Tell, Wish
from kd.training.arithmetic import environment
from kd.training.batches import Plan, StepBatch, make_batch
from kd.training.checkpoints import DamagedCheckpointError, restore_checkpoint, save_checkpoint, verified_files
from kd.training.commands import RecordCheckpoint, RecordReproduction, RecordReproductionFailure, RejectCheckpoint, ResumeTraining
from kd.training.events import StepCompleted, StepSkipped
from kd.training.loop import Trainer
from kd.training.preparation import Data, read_data, read_plan
from kd.training.states import Course, StepRecord

__all__ = ["Session", "open_session"]

_TOLERANCE = 1e-3
"""Largest relative difference of a repeated step in another environment."""


@define
class Session:
    """What the works of one process share."""

    data: Data
    plan: Plan
    trainer: Trainer | None = None
    saved_step: int = 0
    saved_at: float = 0.0
    """When the last checkpoint was written, or the trainer made, on the monotonic clock."""

    def batch(self, course: Course, step: int) -> StepBatch:
        """The batch of `step`, counted from 1."""
        rows = [self.data.train[row] for row in self.plan.rows_of(step)]
        return make_batch(rows, course.job.config.micro_batch_tokens)

    def save(self, course: Course, ports: Ports) -> RecordCheckpoint:
        """Write a checkpoint of the trainer's step."""
        assert self.trainer is not None
        step, position = self.trainer.step, self.plan.starts[self.trainer.step]
        artifact = save_checkpoint(self.trainer, ports, position=position, seed=self.plan.seed)
        self.saved_step, self.saved_at = step, time.monotonic()
        return RecordCheckpoint(step=step, checkpoint=artifact, position=position)

    def is_checkpoint_due(self, course: Course) -> bool:
        """Whether steps or seconds since the last checkpoint are as many as the settings allow."""
        assert self.trainer is not None
        settings = course.job.config.checkpoint
        num_steps = self.trainer.step - self.saved_step
        return num_steps >= settings.every_steps or (num_steps > 0 and time.monotonic() - self.saved_at >= settings.every_seconds)

    def bring_to(self, course: Course, ports: Ports, tell: Tell) -> Trainer | RecordReproductionFailure | None:
        """The trainer after the recorded steps; the command to end with if one did not come out the same; None if told to stop."""
        if self.trainer is None or self.trainer.step != course.step:
            trainer = _restored(course, ports, tell)
            failure = self._repeat(trainer, course, tell)
            if failure is not None or trainer.step != course.step:
                return failure
            self.trainer = trainer
            self.saved_at = time.monotonic()
            self.saved_step = max((checkpoint.step for checkpoint in course.checkpoints), default=0)
        return self.trainer

    def _repeat(self, trainer: Trainer, course: Course, tell: Tell) -> RecordReproductionFailure | None:
        """Execute recorded steps again, as far as the run wishes."""
        records = [record for record in course.records if record.step > trainer.step]
        if not records:
            return None
        here, difference = environment(), 0.0
        for record in records:
            result = trainer.run(self.batch(course, record.step))
            tolerance = 0.0 if record.environment == here else _TOLERANCE
            failure, by = _compare(record, result, tolerance)
            if failure is not None:
                return failure
            difference = max(difference, by)
            if record is not records[-1] and tell() is not Wish.GO_ON:
                return None
        result_kind: Literal["bitwise", "within"] = "within" if difference else "bitwise"
        tell(RecordReproduction(first=records[0].step, last=records[-1].step, result=result_kind, difference=difference))
        return None


@contextmanager
def open_session(course: Course, ports: Ports) -> Iterator[Session]:
    """A session with exact arithmetic around it."""
    with exact_arithmetic(course.job.config.threads):
        yield Session(data=read_data(course.job, ports), plan=read_plan(course, ports))


def _restored(course: Course, ports: Ports, tell: Tell) -> Trainer:
    """A trainer at the newest checkpoint that is whole; the error of the last one tried if none is."""
    trainer = Trainer(load_student(ports.fetch(course.student)), course.job.config, course.term_weights)
    damage: DamagedCheckpointError | None = None
    for checkpoint in reversed(course.checkpoints):
        try:
            files = verified_files(checkpoint.artifact, ports)
        except DamagedCheckpointError as error:
            damage = error
            if not checkpoint.is_rejected:
                tell(RejectCheckpoint(step=checkpoint.step, file=error.file, reason=str(error)))
            continue
        restore_checkpoint(trainer, files)
        break
    else:
        if damage is not None:
            raise damage.cause
    if course.step:
        tell(ResumeTraining(checkpoint=trainer.step, environment=environment()))
    return trainer


def _compare(record: StepRecord, found: StepCompleted | StepSkipped, tolerance: float) -> tuple[RecordReproductionFailure | None, float]:
    """What differs beyond `tolerance`, if anything, and the largest relative difference within it."""
    largest = 0.0
    for name in ("batch_digest", "loss_bits", "grad_norm_bits"):
        old, new = getattr(record, name), getattr(found, name)
        if old == new:
            continue
        difference = float("inf") if name == "batch_digest" else _relative(old, new)
        if not difference <= tolerance:
            return RecordReproductionFailure(step=record.step, field=name, recorded=old, found=new), difference
        largest = max(largest, difference)
    return None, largest


def _relative(old: str, new: str) -> float:
    (a,), (b,) = (struct.unpack(">d", bytes.fromhex(bits)) for bits in (old, new))
    return abs(float(a) - float(b)) / max(abs(float(a)), abs(float(b)))
