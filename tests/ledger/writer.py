"""A process that uses a ledger, for tests that kill it, race it or lock it out: `writer.py TASK LEDGER ARGUMENT`.

It prints one line a step, so that its parent knows what was acknowledged.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ledger.errors import VersionConflictError
from ledger.opening import open_ledger
from ledger.ownership import claim
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import REGISTRY, Saved, Stepped

__all__ = ["main"]

_SETTINGS = LedgerSettings(segment_max_bytes=20_000)


def main(task: str, ledger: Path, argument: str) -> None:
    """Do `task` until it is done or the process is killed."""
    with open_ledger(ledger, registry=REGISTRY, settings=_SETTINGS) as store:
        {"storm": _storm, "race": _race, "append": _append, "own": _own}[task](store, argument)


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _storm(store: FileStore, name: str) -> None:
    """Keyed batches without end, metrics and transitions in turn."""
    for number in range(1_000_000):
        events = [Stepped(step=number, note=name), Saved(name=name) if number % 8 == 0 else Stepped(step=number)]
        store.append(f"run/{name}", events, key=f"{name}-{number}")
        _say(number)


def _race(store: FileStore, rounds: str) -> None:
    """Append with the expected version until this process has won `rounds` times."""
    won = 0
    while won < int(rounds):
        version = store.version("run/race")
        try:
            store.append("run/race", [Stepped(step=version)], expected=version)
        except VersionConflictError:
            continue
        won += 1
        _say(version)


def _append(store: FileStore, num_records: str) -> None:
    for number in range(int(num_records)):
        store.append("run/other", [Stepped(step=number)])


def _own(store: FileStore, run: str) -> None:
    """Own `run` until killed."""
    _say(claim(store, run, "writer").fence)
    while True:
        signal.pause()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
