"""A ledger as large as a long project's: a million records of about 400 bytes in several streams, made in seconds."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ledger import create_ledger
from ledger.registry import Durability, Entry, Registry
from ledger.settings import LedgerSettings
from ledger.testing import FixedClock

__all__ = ["BIG_ORIGIN", "BIG_REGISTRY", "Asked", "Stepped", "make_big_ledger"]

BIG_ORIGIN = "big.invalid/ledger"
_BATCH = 1000
_STREAMS = ("run/a/training", "run/b/training", "run/a/generation", "run/b/generation")
_NOTE = "x" * 180


@frozen(kw_only=True)
class Stepped:
    """A training step."""

    step: int
    loss_nats: float
    tokens_per_second: float
    note: str


@frozen(kw_only=True)
class Asked:
    """A teacher's reply."""

    prompt: int
    cost_usd: float
    note: str


BIG_REGISTRY = Registry(
    (
        Entry(name="big.stepped", cls=Stepped, durability=Durability.METRIC),
        Entry(name="big.asked", cls=Asked, durability=Durability.METRIC),
    )
)


def make_big_ledger(path: Path, num_records: int, *, batch: int = _BATCH, settings: LedgerSettings | None = None) -> Path:
    """A closed ledger at `path` with `num_records` records besides the ledger's own; batches go to four streams in turn."""
    with create_ledger(path, origin=BIG_ORIGIN, registry=BIG_REGISTRY, settings=settings, clock=FixedClock()) as store:
        for number, first in enumerate(range(0, num_records, batch)):
            stream = _STREAMS[number % len(_STREAMS)]
            make = _stepped if stream.endswith("training") else _asked
            store.append(stream, [make(index) for index in range(first, min(first + batch, num_records))])
    return path


def _stepped(index: int) -> Stepped:
    return Stepped(step=index, loss_nats=1 + 1 / (index + 1), tokens_per_second=1e4 + index % 97, note=_NOTE)


def _asked(index: int) -> Asked:
    return Asked(prompt=index, cost_usd=0.0001 * (index % 13), note=_NOTE)


def main(arguments: Sequence[str]) -> int:
    """`python -m tests.bench.big_ledger FOLDER [NUM_RECORDS]`: make one and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("num_records", type=int, nargs="?", default=1_000_000)
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    path = make_big_ledger(options.folder, options.num_records)
    num_bytes = sum(each.stat().st_size for each in (path / "seg").iterdir())
    print(f"{options.num_records} records, {num_bytes} bytes, {time.perf_counter() - begin:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
