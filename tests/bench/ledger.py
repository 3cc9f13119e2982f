"""The ledger beside its peers, and beside the floor that the disk sets: append, replay, verification, follow.

Rounds are interleaved, each subject in processes of its own, on equal records of about 400 bytes. The files lie below .bench/ in the
checkout, so that they meet the disk people work on and no memory file system. A goal holds where the interval's lower end reaches it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ledger import create_ledger, open_ledger
from ledger.follow import follow
from ledger.record import Cursor
from ledger.registry import Durability, Entry, Registry
from tests.bench.rows import Compared, Row, compare, quantile
from tests.bench.scratch import scratch_folder
from tests.bench.subjects import DBOS, EVENTSOURCING, FLOOR, LLM_AUDIT_TRAIL, MLFLOW, OURS, SQLITE, TRACKIO, Subject, Worker, open_workers

__all__ = ["measure"]

_FOLLOW_SECONDS = 0.005
_NUM_WRITERS = 16
_NUM_WARM = 5
"""Appends at the start of a round that bring back what the other subjects drove out of the processor's caches."""
_NUM_KILLED = 1_000
"""Metrics that were acknowledged before the kill."""


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """One row for each piece of work and peer."""
    with scratch_folder() as folder:
        return (
            # Short rounds, since a disk changes its pace within a second.
            *_durable_one(folder / "durable", num_rounds or (15 if is_quick else 60)),
            *_durable_sixteen(folder / "sixteen", num_rounds or (5 if is_quick else 9)),
            *_buffered(folder / "buffered", num_rounds or (7 if is_quick else 15)),
            _killed(folder / "killed"),
            *_reading(folder / "reading", num_rounds or (5 if is_quick else 7), 20_000 if is_quick else 100_000),
            _follow(folder / "follow", 700 if is_quick else 4_000),
        )


def _durable_one(folder: Path, num_rounds: int) -> list[Row]:
    """One process, one record at a time, each on the medium before the next."""
    goals: list[tuple[Subject, float | None, int]] = [
        (FLOOR, 0.8, 20),
        (EVENTSOURCING, 1.5, 20),
        (LLM_AUDIT_TRAIL, 1.5, 20),
        (SQLITE, None, 20),
        (MLFLOW, 5.0, 5),
        (DBOS, 10.0, 5),
    ]
    with open_workers(_made(folder), [OURS, *(subject for subject, _, _ in goals)]) as workers:
        rates = _rounds(workers, "durable", {OURS: 20} | {subject: n for subject, _, n in goals}, num_rounds)
    return [
        _row("durable append, one process, expected version", rates, subject, at_least, f"{num_rounds} rounds of {n}")
        for subject, at_least, n in goals
    ]


def _durable_sixteen(folder: Path, num_rounds: int) -> list[Row]:
    """Sixteen processes at once; the rate of all of them, and the longest that any waited for one append."""
    goals: list[tuple[Subject, float]] = [(LLM_AUDIT_TRAIL, 5.0), (EVENTSOURCING, 2.0), (SQLITE, 3.0)]
    n = 50  # with fewer the last ones, who have the disk alone, weigh too much
    found = [OURS, *(subject for subject, _ in goals)]
    rates: dict[str, list[float]] = {subject.title: [] for subject in found}
    longest_ms = {subject.title: 0.0 for subject in found}
    with open_workers(_made(folder), found, num_each=_NUM_WRITERS) as workers:
        for index in range(num_rounds + 1):
            for title, processes in workers.items():
                seconds, waited_ms = _together(processes, n)
                if index > 0:  # the first round opens files and loads code
                    rates[title].append(_NUM_WRITERS * n / seconds)
                    longest_ms[title] = max(longest_ms[title], waited_ms)
    work = f"durable append, {_NUM_WRITERS} processes"
    rows = [_row(work, rates, subject, at_least, f"{num_rounds} rounds of {n} each") for subject, at_least in goals]
    ours, theirs = longest_ms[OURS.title], longest_ms[SQLITE.title]
    longest = Row(
        work=f"{work}: the longest wait for one",
        ours=ours,
        unit="ms",
        against=SQLITE.title,
        theirs=theirs,
        ratio=ours / theirs,
        must="ours < 100 and ratio <= 0.05",
        holds=ours < 100 and ours / theirs <= 0.05,
        note=f"of {num_rounds * n * _NUM_WRITERS}; "
        + ", ".join(f"{subject.title} {longest_ms[subject.title]:.0f} ms" for subject, _ in goals[:2]),
    )
    return [*rows, longest]


def _buffered(folder: Path, num_rounds: int) -> list[Row]:
    """One process, acknowledged once the system has the bytes; the peer only puts a row into a queue of its own process."""
    goals: list[tuple[Subject, float | None, str]] = [(TRACKIO, 1.5, "rows wait in its process"), (FLOOR, None, "write alone")]
    n = 2_000
    with open_workers(_made(folder), [OURS, TRACKIO, FLOOR]) as workers:
        rates = _rounds(workers, "buffered", dict.fromkeys([OURS, TRACKIO, FLOOR], n), num_rounds)
    return [
        _row("metric append, one process, expected version", rates, subject, at_least, f"{num_rounds} rounds of {n}; {note}")
        for subject, at_least, note in goals
    ]


def _killed(folder: Path) -> Row:
    """What is left of acknowledged metrics when the process is killed straight after the last."""
    lost = {}
    for subject in (OURS, TRACKIO):
        place = _made(folder) / subject.module
        worker = Worker(subject, place)
        worker.start("buffered_then_die", _NUM_KILLED)
        worker.wait_for_death()
        worker.close()
        again = Worker(subject, place)
        lost[subject.title] = _NUM_KILLED - again.do("count", 0)["count"]
        again.close()
    return Row(
        work="acknowledged metrics lost to SIGKILL",
        ours=lost[OURS.title],
        unit=f"records of {_NUM_KILLED}",
        against=TRACKIO.title,
        theirs=lost[TRACKIO.title],
        must="ours = 0",
        holds=lost[OURS.title] == 0,
    )


def _reading(folder: Path, num_rounds: int, num_records: int) -> list[Row]:
    """Bytes to typed events to a state, and the examination of every line."""
    with open_workers(_made(folder), [OURS, EVENTSOURCING, LLM_AUDIT_TRAIL]) as workers:
        ours, theirs, trail = (workers[subject.title][0] for subject in (OURS, EVENTSOURCING, LLM_AUDIT_TRAIL))
        num_trail = num_records // 10
        for worker, n in ((ours, num_records), (theirs, num_records), (trail, num_trail)):
            worker.do("fill", n)
        rates: dict[str, list[float]] = {}
        for _ in range(num_rounds):
            for name, worker, do in (
                ("replay", ours, "replay"),
                ("log", theirs, "replay"),
                ("verify", ours, "verify"),
                ("trail", trail, "verify"),
                ("rebuild", theirs, "rebuild"),
            ):
                answer = worker.do(do, 0)
                rates.setdefault(name, []).append(answer["count"] / answer["seconds"])
    note = f"{num_rounds} rounds of {num_records} records"
    title = EVENTSOURCING.title
    return [
        _compared("typed replay, opening and links included", rates["replay"], f"{title}: log to objects", rates["log"], 4.0, note),
        _compared("typed replay, opening and links included", rates["replay"], f"{title}: aggregate", rates["rebuild"], 12.0, note),
        _compared("full verification with Merkle root", rates["verify"], "own typed replay", rates["replay"], 0.7, note),
        _compared(
            "full verification with Merkle root",
            rates["verify"],
            "llm-audit-trail verify_log",
            rates["trail"],
            8.0 * 0.7,
            f"{note}; theirs {num_trail}, chain alone: 8 for the chain, of which the Merkle root may take 0.3",
        ),
    ]


def _rounds(workers: dict[str, list[Worker]], do: str, counts: dict[Subject, int], num_rounds: int) -> dict[str, list[float]]:
    """Records a second in each round, by title; one round before them is not counted, nor are the first few of each round."""
    rates: dict[str, list[float]] = {subject.title: [] for subject in counts}
    for index in range(num_rounds + 1):
        for subject, n in counts.items():
            workers[subject.title][0].do(do, _NUM_WARM)
            seconds = workers[subject.title][0].do(do, n)["seconds"]
            if index > 0:
                rates[subject.title].append(n / seconds)
    return rates


def _together(workers: Sequence[Worker], n: int) -> tuple[float, float]:
    """Seconds until all have made `n` durable appends, after a few that do not count, and the longest wait for one in milliseconds."""
    for worker in workers:
        worker.start("durable", _NUM_WARM)
    for worker in workers:
        worker.answer()
    begin = time.perf_counter()
    for worker in workers:
        worker.start("durable", n)
    longest = max(worker.answer()["longest_seconds"] for worker in workers)
    return time.perf_counter() - begin, longest * 1e3


def _row(work: str, rates: dict[str, list[float]], subject: Subject, at_least: float | None, note: str) -> Row:
    return _compared(work, rates[OURS.title], subject.title, rates[subject.title], at_least, note)


def _compared(work: str, ours: Sequence[float], against: str, theirs: Sequence[float], at_least: float | None, note: str) -> Row:
    found: Compared = compare(ours, theirs)
    return Row(
        work=work,
        ours=found.ours,
        unit="records/s",
        against=against,
        theirs=found.theirs,
        ratio=found.ratio,
        must=None if at_least is None else f"ratio >= {at_least:.2g}",
        holds=None if at_least is None else found.low >= at_least,
        note=f"ratio 95 % in {found.low:.3g} to {found.high:.3g}; {note}",
    )


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@frozen(kw_only=True)
class Sent:
    """An event that says when it was made."""

    sent_ns: int
    """Monotonic clock of the writer, which all processes of a machine share."""
    note: str


_REGISTRY = Registry((Entry(name="bench.sent", cls=Sent, durability=Durability.METRIC),))


def _follow(path: Path, num_records: int) -> Row:
    create_ledger(path, origin="bench.invalid/follow", registry=_REGISTRY).close()
    store = open_ledger(path, registry=_REGISTRY, write=False)
    writer = multiprocessing.get_context("spawn").Process(target=_write_slowly, args=(path, num_records))
    writer.start()
    waits_ms = []
    for record in follow(store, after=Cursor.genesis(store.origin), streams="run/bench"):
        assert isinstance(record.event, Sent)
        waits_ms.append((time.monotonic_ns() - record.event.sent_ns) / 1e6)
        if len(waits_ms) == num_records:
            break
    writer.join()
    store.close()
    p99_ms = quantile(waits_ms, 0.99)
    return Row(
        work="follow, a record each 5 ms, p99 of append to seen",
        ours=p99_ms,
        unit="ms",
        must="ours < 5",
        holds=p99_ms < 5,
        note=f"n = {num_records}, median {quantile(waits_ms, 0.5):.2f} ms, largest {max(waits_ms):.2f} ms; writer in a process of its own",
    )


def _write_slowly(path: Path, num_records: int) -> None:
    store = open_ledger(path, registry=_REGISTRY)
    for _ in range(num_records):
        time.sleep(_FOLLOW_SECONDS)
        store.append("run/bench", [Sent(sent_ns=time.monotonic_ns(), note="x" * 240)])
    store.close()
