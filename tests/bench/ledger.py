"""The ledger beside the floor: what the disk takes for the same bytes, and what parsing the same lines takes.

Rounds are interleaved. The ledgers lie below .bench/ in the checkout, so that they meet the disk people work on and no memory file system.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import msgspec
from attrs import frozen

from ledger import create_ledger, open_ledger
from ledger.follow import follow
from ledger.record import Cursor
from ledger.registry import Durability, Entry, Registry
from ledger.segments import FileStore
from tests.bench.rows import Compared, Row, interleave, quantile
from tests.bench.scratch import scratch_folder

__all__ = ["measure"]

_STREAM = "run/bench"
_ORIGIN = "bench"
_FOLLOW_SECONDS = 0.005
_BATCH = 1000
"""Records that the replayed ledger takes at a time."""


@frozen(kw_only=True)
class Stepped:
    """An event as large as a training step's: a record of about 400 bytes."""

    step: int
    sent_ns: int
    """Monotonic clock of the writer, which all processes of a machine share."""
    note: str


def _stepped(step: int) -> Stepped:
    return Stepped(step=step, sent_ns=time.monotonic_ns(), note="x" * 220)


_METRIC = Registry((Entry(name="bench.stepped", cls=Stepped, durability=Durability.METRIC),))
_DURABLE = Registry((Entry(name="bench.stepped", cls=Stepped, durability=Durability.TRANSITION),))


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """Append in both durability classes, typed replay and follow; a goal holds where the interval's lower end reaches it."""
    with scratch_folder() as folder:
        return (
            # Short rounds, since a disk changes its pace within a second.
            _durable_append(folder, num_rounds=num_rounds or (40 if is_quick else 200), num_records=20),
            _metric_append(folder, num_rounds=num_rounds or (7 if is_quick else 21), num_records=5_000),
            _typed_replay(folder, num_rounds=num_rounds or (3 if is_quick else 7), num_records=20_000 if is_quick else 200_000),
            _follow(folder, num_records=700 if is_quick else 4_000),
        )


def _durable_append(folder: Path, *, num_rounds: int, num_records: int) -> Row:
    store = create_ledger(folder / "durable", origin=_ORIGIN, registry=_DURABLE)
    store.append(_STREAM, [_stepped(0)], expected=0)
    line = list(store.lines())[-1] + b"\n"
    with (folder / "durable.raw").open("ab", buffering=0) as raw:

        def floor() -> float:
            begin = time.perf_counter()
            for _ in range(num_records):
                os.write(raw.fileno(), line)
                os.fdatasync(raw.fileno())
            return num_records / (time.perf_counter() - begin)

        rates = interleave(lambda: _appends_per_second(store, num_records), floor, num_rounds=num_rounds)
    store.close()
    return Row(
        work="durable append, one process, expected version",
        ours=rates.ours,
        unit="records/s",
        against="raw write + fdatasync",
        theirs=rates.theirs,
        ratio=rates.ratio,
        must="ratio >= 0.80",
        holds=rates.low >= 0.80,
        note=f"{_interval(rates)}; {num_rounds} rounds of {num_records}, {len(line)} bytes a record",
    )


def _metric_append(folder: Path, *, num_rounds: int, num_records: int) -> Row:
    store = create_ledger(folder / "metric", origin=_ORIGIN, registry=_METRIC)
    store.append(_STREAM, [_stepped(0)], expected=0)
    line = list(store.lines())[-1] + b"\n"
    with (folder / "metric.raw").open("ab", buffering=0) as raw:

        def floor() -> float:
            begin = time.perf_counter()
            for _ in range(num_records):
                os.write(raw.fileno(), line)
            return num_records / (time.perf_counter() - begin)

        rates = interleave(lambda: _appends_per_second(store, num_records), floor, num_rounds=num_rounds)
    store.close()
    return Row(
        work="metric append, one process, expected version",
        ours=rates.ours,
        unit="records/s",
        against="raw write",
        theirs=rates.theirs,
        ratio=rates.ratio,
        note=f"{_interval(rates)}; {num_rounds} rounds of {num_records}; the floor neither encodes nor chains nor locks",
    )


def _interval(rates: Compared) -> str:
    return f"ratio 95 % in {rates.low:.2f} to {rates.high:.2f}"


def _appends_per_second(store: FileStore, num_records: int) -> float:
    version = store.version(_STREAM)
    begin = time.perf_counter()
    for step in range(version, version + num_records):
        store.append(_STREAM, [_stepped(step)], expected=step)
    return num_records / (time.perf_counter() - begin)


def _typed_replay(folder: Path, *, num_rounds: int, num_records: int) -> Row:
    store = create_ledger(folder / "replay", origin=_ORIGIN, registry=_METRIC)
    for begin in range(0, num_records, _BATCH):
        store.append(_STREAM, [_stepped(step) for step in range(begin, begin + _BATCH)])
    store.close()

    def ours() -> float:
        begin = time.perf_counter()
        reader = open_ledger(folder / "replay", registry=_METRIC, write=False)
        num_read = sum(1 for _ in reader.read(_STREAM))
        reader.close()
        assert num_read == num_records
        return num_read / (time.perf_counter() - begin)

    def theirs() -> float:
        begin = time.perf_counter()
        with next((folder / "replay" / "seg").glob("*.jsonl")).open("rb") as segment:
            num_read = sum(1 for _ in map(msgspec.json.decode, segment))
        return num_read / (time.perf_counter() - begin)

    rates = interleave(ours, theirs, num_rounds=num_rounds)
    return Row(
        work="typed replay with chain check, opening included",
        ours=rates.ours,
        unit="records/s",
        against="msgspec parsing the same lines untyped and unchecked",
        theirs=rates.theirs,
        ratio=rates.ratio,
        note=f"{_interval(rates)}; {num_rounds} rounds of {num_records}",
    )


def _follow(folder: Path, *, num_records: int) -> Row:
    path = folder / "follow"
    create_ledger(path, origin=_ORIGIN, registry=_METRIC).close()
    store = open_ledger(path, registry=_METRIC, write=False)
    writer = multiprocessing.get_context("spawn").Process(target=_write_slowly, args=(path, num_records))
    writer.start()
    waits_ms = []
    for record in follow(store, after=Cursor.genesis(_ORIGIN), streams=_STREAM):
        assert isinstance(record.event, Stepped)
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
    store = open_ledger(path, registry=_METRIC)
    for step in range(num_records):
        time.sleep(_FOLLOW_SECONDS)
        store.append(_STREAM, [_stepped(step)])
    store.close()
