"""Records of a run that never happened, made as a store makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeVar

from kd.artifacts import Artifact, FileRef
from kd.events import REGISTRY
from kd.run import events as run_events
from kd.run.config import RunConfig
from kd.run.config_file import load_run_config
from kd.run.pipeline import STAGE_ORDER
from kd.training.events import (
    CheckpointSaved,
    LossPart,
    Metric,
    StepCompleted,
    StepSkipped,
    TrainingStarted,
    ValidationCompleted,
)
from ledger.events import OwnerClaimed, OwnerReleased
from ledger.record import BlobRef, Record
from ledger.store import MemoryStore
from ledger.testing import FixedClock

__all__ = [
    "RUN",
    "START_MS",
    "artifact",
    "blob",
    "claimed",
    "config",
    "fold",
    "planned",
    "recorded",
    "released",
    "skipped",
    "step",
    "training_run",
]

RUN = "ab"
START_MS = 1_700_000_000_000
S = TypeVar("S")
Row = tuple[str, object, float]
"""Stream, event, and seconds since the start."""


def recorded(rows: Iterable[Row]) -> list[Record]:
    """The records of `rows`, one batch each, as a store in memory reads them back."""
    clock = FixedClock(START_MS)
    store = MemoryStore(REGISTRY, clock=clock)
    for stream, event, seconds in rows:
        clock.time_ms = START_MS + round(seconds * 1000)
        store.append(stream, [event])
    return list(store.scan(start=1))


def fold(apply: Callable[[S, Record], S], state: S, records: Sequence[Record]) -> S:
    """The state after all of `records`."""
    return reduce(apply, records, state)


def config(**training: object) -> RunConfig:
    """The settings of configs/tiny.yaml, but for some of training."""
    return load_run_config(Path("configs/tiny.yaml"), overrides=tuple(f"training.{key}={value}" for key, value in training.items()))


def planned(run: str = RUN, settings: RunConfig | None = None, *, code: str = "c" * 64, machine: str = "x86") -> Row:
    """The first record of a run."""
    event = run_events.RunPlanned(
        config=settings or config(),
        config_digest="d" * 64,
        stages=STAGE_ORDER,
        code_digest=code,
        environment={"machine": machine},
    )
    return f"run/{run}", event, 0.0


def claimed(seconds: float, run: str = RUN) -> Row:
    """An owner took the run."""
    return f"own/{run}", OwnerClaimed(run=run, host="h", pid=7, boot_id="b", actor="ana@h"), seconds


def released(seconds: float, run: str = RUN) -> Row:
    """The owner let go."""
    return f"own/{run}", OwnerReleased(run=run, fence=1), seconds


def step(number: int, seconds: float, *, loss: float = 2.0, norm: float = 1.0, kd_tokens: int = 10, run: str = RUN) -> Row:
    """A step of 100 tokens that took half a second."""
    event = StepCompleted(
        step=number,
        loss_nats=loss,
        loss_bits="0" * 16,
        parts=(LossPart(name="kd", value_nats=loss / 2, weight=0.6, num_tokens=kd_tokens),),
        num_tokens=100,
        batch_digest="b" * 64,
        grad_norm=norm,
        grad_norm_bits="0" * 16,
        lr=1e-3,
        seconds=0.5,
        peak_bytes=1000,
    )
    return f"run/{run}/training", event, seconds


def skipped(number: int, seconds: float) -> Row:
    """A step whose loss was NaN and whose norm was infinite."""
    event = StepSkipped(
        step=number, reason="loss is nan", batch_digest="b" * 64, loss_bits="7ff8000000000000", grad_norm_bits="7ff0000000000000"
    )
    return f"run/{RUN}/training", event, seconds


def blob(letter: str = "a") -> BlobRef:
    """A reference to bytes that nobody reads."""
    return BlobRef(sha256=letter * 64, num_bytes=1)


def artifact(kind: str = "checkpoint") -> Artifact:
    """An artifact of one file."""
    return Artifact(kind=kind, files=(FileRef(path="f", blob=blob()),))


def training_run(num_steps: int, *, every_seconds: float = 1.0, run: str = RUN) -> list[Row]:
    """A run at its training: a step a second, a validation and a checkpoint after each hundred."""
    settings = config(steps=num_steps)
    own, stream = f"run/{run}", f"run/{run}/training"
    rows: list[Row] = [
        planned(run, settings),
        claimed(1, run),
        (own, run_events.RunStarted(), 1),
        (own, run_events.StageStarted(stage="training", inputs=()), 1),
        (stream, TrainingStarted(config=settings.training, inputs=(), seed=1), 1),
    ]
    for number in range(1, num_steps + 1):
        seconds = 1 + number * every_seconds
        rows.append(step(number, seconds, loss=3 - 2 * number / num_steps, run=run))
        if number % 100 == 0:
            metrics = (Metric(name="kl_nats", value=1 / number),)
            rows.append((stream, ValidationCompleted(step=number, metrics=metrics, num_rows=1, num_tokens=1), seconds))
            rows.append((stream, CheckpointSaved(step=number, checkpoint=artifact(), position=number), seconds))
    return rows
