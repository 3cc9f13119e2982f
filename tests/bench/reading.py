"""A ledger of a million records: opening it, reading and replaying to any position, following it, and the memory that takes.

Every opening is that of a process of its own, timed from before the first call to after the last; loading Python is left out.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ledger import Projection, Record, follow, open_index, open_ledger, project
from ledger.proofs import prove, verify_proof
from ledger.record import Cursor
from ledger.tree_head import Signer
from tests.bench.big_ledger import BIG_ORIGIN, BIG_REGISTRY, make_big_ledger
from tests.bench.rows import Row, quantile
from tests.bench.scratch import scratch_folder

__all__ = ["measure"]

_ROOT = Path(__file__).parents[2]


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """Open, read, replay, follow; a goal holds where the slowest of nine in ten rounds reaches it."""
    num_records = 100_000 if is_quick else 1_000_000
    num_rounds = num_rounds or (5 if is_quick else 21)
    with scratch_folder() as folder:
        path = make_big_ledger(folder / "big", num_records)
        scanned = _child("scan", path, 0)
        _child("index", path, 0)
        positions = random.Random(0).sample(range(num_records), num_rounds)
        title = f"{num_records:,} records"
        return (
            _milliseconds("read", path, positions, f"open for reading and read one record of {title}, index warm", 300.0),
            _milliseconds("replay", path, positions, f"open for reading and replay to a position of {title}, index warm"),
            _milliseconds("append", path, positions, f"open {title} for appending", 1000.0, against=scanned),
            _memory(path, title),
            *_proofs(path, title, positions),
        )


def _milliseconds(work: str, path: Path, positions: list[int], title: str, limit: float | None = None, against: float | None = None) -> Row:
    took = [1000 * _child(work, path, position) for position in positions]
    high = quantile(took, 0.9)
    return Row(
        work=title,
        ours=median(took),
        unit="ms",
        against=None if against is None else "a scan of everything",
        theirs=None if against is None else 1000 * against,
        ratio=None if against is None else median(took) / (1000 * against),
        must=None if limit is None else f"ours <= {limit:g}",
        holds=None if limit is None else high <= limit,
        note=f"n = {len(took)}, {min(took):.0f} to {max(took):.0f} ms, nine in ten within {high:.0f} ms",
    )


def _proofs(path: Path, title: str, positions: list[int]) -> tuple[Row, ...]:
    """One record proven to a stranger who has the public key alone: how large, how long to make, how long to check."""
    signer = Signer.generate(BIG_ORIGIN)
    made, checked, sizes = [], [], []
    with open_ledger(path, registry=BIG_REGISTRY, signer=signer) as store:
        begin = time.perf_counter()
        store.sign_head()
        signing = time.perf_counter() - begin
        for position in positions:
            begin = time.perf_counter()
            proof = prove(store, position)
            made.append(1000 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            verify_proof(proof, [signer.vkey])
            checked.append(1000 * (time.perf_counter() - begin))
            sizes.append(32 * (proof.split("\n\n")[0].count("\n") - 2))
    return (
        Row(
            work=f"raw hashes of an inclusion proof in {title}",
            ours=max(sizes),
            unit="bytes",
            must="ours <= 700",
            holds=max(sizes) <= 700,
            note=f"n = {len(sizes)}, the largest; signing the first head of all took {signing:.1f} s",
        ),
        _took(f"inclusion proof in {title}, made", made, 20.0),
        _took(f"inclusion proof in {title}, verified", checked, 5.0),
    )


def _took(work: str, took: list[float], limit: float) -> Row:
    return Row(
        work=work,
        ours=max(took),
        unit="ms",
        must=f"ours < {limit:g}",
        holds=max(took) < limit,
        note=f"n = {len(took)}, the slowest; median {median(took):.2f} ms",
    )


def _memory(path: Path, title: str) -> Row:
    mebibytes = _child("follow", path, 0)
    return Row(
        work=f"memory to open and follow {title}",
        ours=mebibytes,
        unit="MiB",
        must="ours < 95.4",
        holds=mebibytes < 100e6 / 2**20,
        note="largest resident size of a process that follows all of them, Python included; the goal is 100 MB",
    )


def _child(work: str, path: Path, position: int) -> float:
    """What a process of its own measured."""
    command = [sys.executable, "-m", "tests.bench.reading", work, str(path), str(position)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _apply(state: dict[str, int], record: Record) -> dict[str, int]:
    return {**state, record.name: state.get(record.name, 0) + 1}


_COUNTS: Projection[dict[str, int]] = Projection(
    name="counts",
    version=1,
    streams="run/*",
    initial={},
    apply=_apply,
    dump=lambda state: json.dumps(state, sort_keys=True).encode(),
    load=json.loads,
)


def _index(path: Path, position: int) -> None:
    with open_ledger(path, registry=BIG_REGISTRY, write=False) as store, open_index(store) as index:
        index.update()
        project(store, _COUNTS, index=index)


def _read(path: Path, position: int) -> None:
    with open_ledger(path, registry=BIG_REGISTRY, write=False) as store, open_index(store, write=False):
        assert next(store.scan(start=position, stop=position + 1)).position == position


def _replay(path: Path, position: int) -> None:
    with open_ledger(path, registry=BIG_REGISTRY, write=False) as store, open_index(store, write=False) as index:
        project(store, _COUNTS, at=position, index=index)


def _append(path: Path, position: int) -> None:
    open_ledger(path, registry=BIG_REGISTRY).close()


def _scan(path: Path, position: int) -> None:
    with open_ledger(path, registry=BIG_REGISTRY, write=False) as store:
        assert sum(1 for _ in store.lines()) == store.end().position


def _follow(path: Path, position: int) -> None:
    with open_ledger(path, registry=BIG_REGISTRY, write=False) as store:
        assert sum(1 for _ in follow(store, after=Cursor.genesis(BIG_ORIGIN), stop=lambda: True)) == store.end().position


def _resident_mebibytes() -> float:
    """The most that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # a child of a large process begins with its parent's ru_maxrss
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


_WORKS: dict[str, Callable[[Path, int], None]] = {
    "append": _append,
    "follow": _follow,
    "index": _index,
    "read": _read,
    "replay": _replay,
    "scan": _scan,
}


def main(work: str, path: str, position: str) -> None:
    """Do `work`; print its seconds, or what it took of memory."""
    begin = time.perf_counter()
    _WORKS[work](Path(path), int(position))
    print(json.dumps(_resident_mebibytes() if work == "follow" else time.perf_counter() - begin))


if __name__ == "__main__":
    main(*sys.argv[1:])
