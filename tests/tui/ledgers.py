"""Small ledgers of runs that never happened, written as real ones are, with a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import evolve as replace

from kd.artifacts import Artifact, FileRef
from kd.events import REGISTRY
from kd.run import events as ev
from kd.training.events import BatchesPlanned, Environment, StudentInitialised, TrainingStarted, VocabularyBound
from ledger import create_ledger
from ledger.record import BlobRef, Meta
from ledger.segments import FileStore
from ledger.testing import FixedClock
from tests.views.examples import START_MS, claimed, config, planned, released, step

__all__ = ["ALPHA", "BETA", "GAMMA", "add_steps", "make_ledger", "open_run_rows"]

ALPHA, BETA, GAMMA = "alpha-20260101T090000-aaaaaa", "beta-20260101T100000-bbbbbb", "gamma-20260101T110000-cccccc"
Row = tuple[str, object, float]


def make_ledger(folder: Path, *, num_steps: int = 12) -> FileStore:
    """Three runs, open for writing: alpha was interrupted in training, beta is paused, gamma failed for good."""
    clock = FixedClock(START_MS)
    store = create_ledger(folder, origin="golden.invalid/tui", registry=REGISTRY, clock=clock)
    blob = store.blobs.put_bytes(b"weights")
    for stream, event, seconds in (
        *open_run_rows(ALPHA, blob, 0),
        *_steps(ALPHA, 1, num_steps, 10),
        *open_run_rows(BETA, blob, 100),
        *_steps(BETA, 1, 4, 110),
        *_paused(BETA, 120),
        *open_run_rows(GAMMA, blob, 200),
        *_failed(GAMMA, 210),
    ):
        clock.time_ms = START_MS + round(seconds * 1000)
        store.append(stream, [event], meta=Meta(actor="ana@host"))
    return store


def add_steps(store: FileStore, run: str, first: int, last: int, *, batch: int = 1) -> None:
    """Training steps `first` to `last` of `run`, `batch` to an append."""
    events = [event for _, event, _ in _steps(run, first, last, 300)]
    for start in range(0, len(events), batch):
        store.append(f"run/{run}/training", events[start : start + batch])


def open_run_rows(run: str, blob: BlobRef, seconds: float) -> Iterator[Row]:
    """A run that has come to its training."""
    settings = replace(config(steps=24), name=run.partition("-")[0])
    own, stream = f"run/{run}", f"run/{run}/training"
    yield planned(run, settings)[0], planned(run, settings)[1], seconds
    yield claimed(seconds + 1, run)
    yield own, ev.RunStarted(), seconds + 1
    yield own, ev.StageStarted(stage="generation", inputs=()), seconds + 2
    yield own, ev.StageCompleted(stage="generation", outputs=(), seconds=1.0), seconds + 3
    yield own, ev.StageStarted(stage="training", inputs=()), seconds + 4
    yield stream, TrainingStarted(config=settings.training, inputs=(), seed=1), seconds + 4
    student = Artifact(kind="checkpoint", files=(FileRef(path="f", blob=blob),))
    machine = Environment(processor="x", instruction_set="AVX2", threads=1, torch="2")
    yield stream, VocabularyBound(decision="exact", tokenizer="t" * 64, num_shared=9), seconds + 5
    yield stream, StudentInitialised(student=student, init="random", layers=(), num_params=9, environment=machine), seconds + 5
    yield stream, _batches(blob), seconds + 5


def _steps(run: str, first: int, last: int, seconds: float) -> Iterator[Row]:
    return (step(number, seconds + number, loss=3 - number / 20, run=run) for number in range(first, last + 1))


def _paused(run: str, seconds: float) -> Iterator[Row]:
    own = f"run/{run}"
    yield own, ev.PauseRequested(reason="lunch"), seconds
    yield own, ev.PauseAccepted(), seconds + 1
    yield own, ev.RunPaused(cause="request", reason="lunch"), seconds + 2
    yield released(seconds + 3, run)


def _failed(run: str, seconds: float) -> Iterator[Row]:
    own = f"run/{run}"
    yield own, ev.StageFailed(stage="training", step="steps", reason="the loss is not finite", is_retryable=False), seconds
    yield own, ev.RunFailed(stage="training", reason="the loss is not finite", is_retryable=False), seconds
    yield released(seconds + 1, run)


def _batches(blob: BlobRef) -> BatchesPlanned:
    return BatchesPlanned(
        plan=blob,
        num_rows=9,
        num_val_rows=1,
        num_steps=24,
        num_epochs=1.0,
        num_tokens=100,
        num_supervised_tokens=50,
        num_term_tokens={"kd": 50},
        term_weights={"kd": 1.0},
        dropped={},
        padding_fraction=0.0,
    )
