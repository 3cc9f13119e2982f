"""Drives a run: asks its machine what is due, does it, and records what came of it.

A crash needs no code of its own here: the next owner folds the streams, asks `pending` again and goes on.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd.errors import DigestMismatchError, KdError, PauseNeededError, StageError
from kd.governance.commands import AnswerWaiver
from kd.governance.machine import book_of, verdict_of
from kd.ports import Ports
from kd.run import commands, machine, states
from kd.run.events import ProcessSampled, StageFailed, WaiverGranted
from kd.run.owned_run import OwnedRun
from kd.run.pipeline import start_command
from kd.run.process_sampler import sampling
from kd.run.stages import run_stream, stage_named, stage_stream
from kd.run.steering import StageTell, Steering
from kd.stage import Completed, Failed, Outcome, Stage, Wish
from ledger.clock import Clock
from ledger.errors import BlobMissingError, DiskFullError, FencedError, IntegrityError, WriteError
from ledger.handle import Live
from ledger.ownership import Ownership
from ledger.record import BlobRef, Meta
from ledger.segments import FileStore

__all__ = ["Runner"]

_BEYOND_REPAIR = (BlobMissingError, DigestMismatchError, FencedError, IntegrityError, WriteError)
"""The ledger is not whole, cannot be written, or belongs to another owner: nothing more is appended."""


class Runner:
    """The owner of one run."""

    def __init__(
        self,
        store: FileStore,
        run: str,
        ownership: Ownership,
        *,
        scratch: Path,
        clock: Clock,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._scratch = scratch
        self._guards = (ownership.guard,)
        self._live = OwnedRun(store, run, self._guards)
        self._steering = Steering(self._live, is_interrupted)
        self._traceback: BlobRef | None = None

    def start(self) -> states.RunState:
        """Record that this owner begins or takes up the run; CommandRejectedError if there is nothing to do."""
        return self._handle(commands.StartRun())

    def drive(self) -> states.RunState:
        """Do what is due until the run ends, fails or is told to stop.

        Damage in the ledger or its blobs (IntegrityError, DigestMismatchError) and a lost ledger (WriteError, FencedError) are
        raised: nothing more is appended to a ledger that is not whole. The run then reads "interrupted".
        """
        # idle threads of a parallel loop give way soon; by default they spin, and on shared cores starve the thread they wait for
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        with sampling(self._record_sample):
            while (work := machine.RUN.pending(self._live.state)) is not None:
                match work:
                    case states.RunStage(stage=name):
                        self._drive_stage(stage_named(name))
                    case states.DrawConclusion():
                        self._handle(commands.EndRun())
            if isinstance(self._live.state, states.Pausing | states.Cancelling):
                # the request was accepted while the last piece of a stage's work ended
                self._handle(commands.StopRun())
        if isinstance(self._live.state, states.Succeeded | states.Rejected | states.Cancelled):
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._sign()
        return self._state()

    def _drive_stage(self, stage: Stage) -> None:
        started = time.monotonic()
        plan = self._plan()
        if stage.name not in plan.started:
            self._handle(commands.StartStage(stage=stage.name))
        live: Live[Any, Any, Any, Any] = Live(self._store, stage_stream(self._run, stage.name), stage.decider, guards=self._guards)
        if live.version == 0:
            live.handle(start_command(plan, stage.name))
        ports = Ports(
            store=self._store,
            blobs=self._store.blobs,
            scratch=self._scratch / stage.name,
            clock=self._clock,
            redactor=self._store.redactor,
        )
        ports.scratch.mkdir(parents=True, exist_ok=True)
        try:
            outcome = self._work(stage, live, ports)
        except PauseNeededError as pause:
            self._handle(commands.StopRun(cause=pause.cause, reason=_sentence(pause)))
            return
        except (OSError, DiskFullError) as error:
            if _is_disk_full(error):
                self._handle(commands.StopRun(cause="disk", reason=f"The disk is full: free some space, then resume. ({error})"))
                return
            outcome = self._fail(stage, live, error)
        finally:
            ports.resources.close()
        self._conclude(stage, live, outcome, seconds=round(time.monotonic() - started, 3))

    def _work(self, stage: Stage, live: Live[Any, Any, Any, Any], ports: Ports) -> Outcome | None:
        """Drive the stage's machine until it ends; None if the run was told to stop."""
        failed = stage.outcome(live.state)
        if isinstance(failed, Failed):
            if not failed.is_retryable:
                return failed  # an owner died between the stage's failure and the run's
            live.handle(stage.retry())
        if stage.name == "governance":
            self._answer_waivers(live)
        tell = StageTell(live, self._steering)
        try:
            execute = _load(stage.executor)
            while (work := stage.decider.pending(live.state)) is not None:
                command = execute(work, ports, tell) if tell() is Wish.GO_ON else None
                if command is None:
                    return None
                live.handle(command)
        except (PauseNeededError, *_BEYOND_REPAIR, OSError):
            raise
        except Exception as error:  # the runner is where unforeseen failures become events
            return self._fail(stage, live, error)
        outcome = stage.outcome(live.state)
        assert outcome is not None, f"{stage.name} asks for nothing and has not ended"
        return outcome

    def _answer_waivers(self, live: Live[Any, Any, Any, Any]) -> None:
        """Let the machine accept or reject what was granted since the verdict, each answer caused by the record that grants it."""
        book = book_of(live.state)
        if book is None:
            return
        for record in self._store.scan(streams=run_stream(self._run), names="run.waiver_granted"):
            event = record.event
            if isinstance(event, WaiverGranted) and event.waiver.id not in book.answered:
                answer = AnswerWaiver(waiver=event.waiver, request=record.position, now_ms=self._clock.now_ms())
                live.handle(answer, meta=Meta(cause=record.position))

    def _fail(self, stage: Stage, live: Live[Any, Any, Any, Any], error: Exception) -> Failed:
        """Record a failure in the stage's own stream, and the traceback where nobody foresaw it."""
        if isinstance(error, StageError):
            failed = Failed(step=error.step, reason=_sentence(error), is_retryable=error.is_retryable)
        elif isinstance(error, KdError):
            failed = Failed(step=type(stage.decider.pending(live.state)).__name__, reason=_sentence(error), is_retryable=True)
        else:
            failed = Failed(
                step=type(stage.decider.pending(live.state)).__name__, reason=f"{type(error).__name__}: {error}", is_retryable=True
            )
            self._traceback = self._keep_text("".join(traceback.format_exception(error)))
        live.handle(stage.fail(failed.step, failed.reason, failed.is_retryable))
        return failed

    def _conclude(self, stage: Stage, live: Live[Any, Any, Any, Any], outcome: Outcome | None, seconds: float) -> None:
        match outcome:
            case None:
                self._handle(commands.StopRun())
            case Completed(outputs=outputs):
                verdict = verdict_of(live.state) if stage.name == "governance" else None
                status, until_ms = (None, None) if verdict is None else (verdict.status, verdict.valid_until_ms)
                completed = commands.CompleteStage(
                    stage=stage.name, outputs=outputs, seconds=seconds, verdict=status, valid_until_ms=until_ms
                )
                self._handle(completed)
                self._sign()
                shutil.rmtree(self._scratch / stage.name, ignore_errors=True)
            case Failed(step=step, reason=reason, is_retryable=is_retryable):
                failure = StageFailed(stage=stage.name, step=step, reason=reason, is_retryable=is_retryable, traceback=self._traceback)
                self._handle(commands.FailStage(failure=failure))

    def _keep_text(self, text: str) -> BlobRef:
        data, redactor = text.encode(errors="backslashreplace"), self._store.redactor
        return self._store.blobs.put_bytes(data if redactor is None else redactor.redact(data)[0])

    def _sign(self) -> None:
        """Sign all that is recorded, if the ledger's key is here: whoever alters a finished stage would have to forge this too."""
        if self._store.can_sign:
            self._store.sign_head()

    def _record_sample(self, sample: ProcessSampled) -> None:
        self._handle(commands.SampleProcess(sample=sample))

    def _handle(self, command: commands.Command) -> states.RunState:
        return self._live.handle(command)

    def _state(self) -> states.RunState:
        return self._live.state

    def _plan(self) -> states.Plan:
        state = self._state()
        assert isinstance(state, states.Known)
        return state.plan


def _load(name: str) -> Callable[[Any, Ports, StageTell], object | None]:
    module, _, function = name.partition(":")
    execute: Callable[[Any, Ports, StageTell], object | None] = getattr(importlib.import_module(module), function)
    return execute


def _is_disk_full(error: OSError | DiskFullError) -> bool:
    return isinstance(error, DiskFullError) or error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _sentence(error: KdError) -> str:
    return f"{error} {error.hint}".strip()
