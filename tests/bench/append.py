"""What recording a training step costs, as a share of the step: the steps of a real run, and their events appended again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kd.events import REGISTRY
from kd.training.events import StepCompleted
from ledger import create_ledger, open_ledger
from tests.bench.command_line import CommandLine
from tests.bench.rows import Row
from tests.bench.scratch import scratch_folder

__all__ = ["measure"]

_STREAM = "run/bench/training"


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """Median append beside the median step of the student of configs/tiny.yaml, the shortest steps that kd ships."""
    with scratch_folder() as folder:
        kd = CommandLine(folder / "ledger")
        run = kd.run("tiny")
        steps = _steps(kd.ledger, run)
        appends = _append_seconds(folder / "again", steps, num_rounds=num_rounds or (5 if is_quick else 25))
    step = median(step.seconds for step in steps)
    append = median(appends)
    ratio = append / step
    return (
        Row(
            work="appending the event of a training step",
            ours=append * 1e6,
            unit="microseconds",
            against="the training step, data to update",
            theirs=step * 1e6,
            ratio=ratio,
            must="ratio < 0.01",
            holds=ratio < 0.01,
            note=f"{len(appends)} appends, {len(steps)} steps of configs/tiny.yaml",
        ),
    )


def _steps(ledger: Path, run: str) -> list[StepCompleted]:
    store = open_ledger(ledger, registry=REGISTRY, write=False)
    events = [record.event for record in store.read(f"run/{run}/training")]
    store.close()
    return [event for event in events if isinstance(event, StepCompleted)]


def _append_seconds(path: Path, steps: Sequence[StepCompleted], *, num_rounds: int) -> list[float]:
    store = create_ledger(path, origin="bench", registry=REGISTRY)
    seconds = []
    for version, step in enumerate(step for _ in range(num_rounds) for step in steps):
        begin = time.perf_counter()
        store.append(_STREAM, [step], expected=version)
        seconds.append(time.perf_counter() - begin)
    store.close()
    return seconds
