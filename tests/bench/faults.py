"""The fault matrix in full: what is lost, changed unnoticed or inconsistent after every fault that a ledger must stand."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from attrs import evolve as replace

from ledger.crash_matrix import CrashMatrix, MatrixReport
from ledger.errors import NotDurableWarning
from ledger.record import Appended
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.bench.rows import Row
from tests.bench.scratch import scratch_folder
from tests.ledger.examples import REGISTRY, Filed, Saved, Stepped
from tests.ledger.faults import disposable, processes, races
from tests.ledger.faults.injection import inject_faults
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.power import lose_power
from tests.ledger.faults.storms import kill_writers

__all__ = ["measure"]

_MEMORY = Path("/dev/shm")  # noqa: S108  # faults that need no disk are tried where a sync costs nothing
_PART = 250


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """One row a fault; `num_rounds` is that of each kill storm, 1,000 unless told (quick: 40)."""
    share = 50 if is_quick else 1
    rounds = num_rounds or 1_000 // (share // 2 or 1)
    trials: list[tuple[Callable[[Path], Outcome], bool]] = [
        (lambda folder: _matrix(folder, "each byte cut", lambda matrix: matrix.cuts(every=share)), True),
        (lambda folder: _matrix(folder, "each bit flipped", lambda matrix: matrix.flips(every=share)), True),
        (lambda folder: _matrix(folder, "each line deleted, doubled, swapped", CrashMatrix.moved_lines), True),
        (lambda folder: _matrix(folder, "each write and sync, in one process", CrashMatrix.storage_calls), True),
        (lambda folder: kill_writers(folder, num_rounds=rounds, num_writers=4), True),
        (lambda folder: kill_writers(folder, num_rounds=rounds // 10, num_writers=16), True),
        (lambda folder: inject_faults(folder, num_tries=200 if is_quick else None), True),
        (lambda folder: lose_power(folder, num_tries=400 if is_quick else None), True),
        (lambda folder: processes.fill_disk(folder, every=5 if is_quick else 1), False),
        (lambda folder: processes.break_syncs(folder, num_syncs=5 if is_quick else 20), False),
        (lambda folder: _in_parts(folder, processes.fork, 2_000 // share), True),
        (lambda folder: processes.kill_owners(folder, num_rounds=1_000 // share), True),
        (processes.set_clock_back, False),
        (processes.forbid_writing, False),
        (processes.stop_under_lock, False),
        (lambda folder: disposable.garble_summaries(folder, num_tries=2_000 // share), True),
        (lambda folder: disposable.garble_index(folder, num_tries=1_000 // share), True),
        (lambda folder: disposable.garble_tiles(folder, num_tries=1_000 // share), True),
        (disposable.restore_old_backup, False),
        (lambda folder: _in_parts(folder, races.race_creators, 5_000 // share), True),
        (lambda folder: _in_parts(folder, races.race_claimers, 40_000 // share), True),
        (lambda folder: _in_parts(folder, races.race_reader, 10_000 // share), True),
        (lambda folder: _in_parts(folder, races.race_rolls, 25_000 // share), True),
        (lambda folder: _in_parts(folder, races.race_collection, 20_000 // share), True),
    ]
    return tuple(_row(trial, is_in_memory=is_in_memory) for trial, is_in_memory in trials)


def _in_parts(folder: Path, race: Callable[..., Outcome], num_rounds: int) -> Outcome:
    """`race` on one ledger after the other, so that none grows long."""
    outcomes = []
    for number in range(0, num_rounds, _PART):
        part = folder / str(number)
        part.mkdir()
        outcomes.append(race(part, num_rounds=min(_PART, num_rounds - number)))
        shutil.rmtree(part)
    return Outcome(
        fault=outcomes[0].fault,
        num_tried=sum(outcome.num_tried for outcome in outcomes),
        violations=tuple(found for outcome in outcomes for found in outcome.violations),
        note=f"on {len(outcomes)} ledgers",
    )


def _row(trial: Callable[[Path], Outcome], *, is_in_memory: bool) -> Row:
    begin = perf_counter()
    with warnings.catch_warnings(), _folder(is_in_memory=is_in_memory) as folder:
        warnings.simplefilter("ignore", NotDurableWarning)
        try:
            outcome = trial(folder)
        except Exception as error:  # the other faults are tried all the same
            broken = f"{type(error).__name__}: {error}"
            outcome = Outcome(fault="a trial that did not come to its end", num_tried=1, violations=(broken,))
    struck = f", {outcome.num_struck} of them struck" if outcome.num_struck is not None else ""
    words = [f"{outcome.num_tried} tried{struck}", outcome.note, *outcome.violations[:3], f"{perf_counter() - begin:.0f} s"]
    note = "; ".join(filter(None, words))
    print(f"{outcome.fault}: {len(outcome.violations)} broken promises; {note}", file=sys.stderr)
    row = Row(work=outcome.fault, ours=len(outcome.violations), unit="broken promises", must="ours == 0", note=note)
    if outcome.skipped:
        return replace(row, ours=None, note=f"not tried: {outcome.skipped}")
    return replace(row, holds=not outcome.violations)


@contextmanager
def _folder(*, is_in_memory: bool) -> Iterator[Path]:
    if is_in_memory and os.access(_MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            yield Path(folder)
    else:
        with scratch_folder() as folder:
            yield folder


def _work(store: FileStore) -> Iterator[Appended]:
    """Twelve batches of three and a blob, over a few segments."""
    for number in range(12):
        yield store.append("run/a", [Stepped(step=number), Stepped(step=number), Saved(name="x")], key=f"k{number}")
    yield store.append("run/b", [Filed(blobs=(store.blobs.put_bytes(b"weights"),))], key="file")


def _matrix(folder: Path, fault: str, run: Callable[[CrashMatrix], MatrixReport]) -> Outcome:
    report = run(CrashMatrix(folder, REGISTRY, _work, settings=LedgerSettings(segment_max_bytes=4_000)))
    return Outcome(fault=fault, num_tried=report.num_tried, violations=report.violations)
