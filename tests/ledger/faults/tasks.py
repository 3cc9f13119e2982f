"""What the processes do that meet a fault: each task says what was acknowledged and what was refused, one line at a time."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from ledger.blobs import Blobs
from ledger.collection import collect_blobs
from ledger.disk import Disk
from ledger.errors import LedgerError, VersionConflictError, WriteError
from ledger.fsck import check_ledger
from ledger.index import open_index
from ledger.key_files import KeyFolder
from ledger.opening import create_ledger, open_ledger
from ledger.ownership import claim
from ledger.projection import project
from ledger.record import Appended
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.tree_head import parse_note
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped
from tests.ledger.folds import STEPS

__all__ = ["SMALL", "TASKS", "Say", "acknowledged", "batches"]

Say = Callable[[str], None]

SMALL = LedgerSettings(segment_max_bytes=2_500)
"""A new segment after a few batches."""
_NUM_TRIES = 3


def acknowledged(lines: list[str]) -> list[Appended]:
    """The answers that a process had, out of the lines it said; only those that survive the loss of power are durable."""
    rows = [line.split() for line in lines if line.startswith("ack ")]
    return [
        Appended(first=int(first), last=int(last), version=0, chain=chain, is_duplicate=False, is_durable=durable == "True")
        for _, _, first, last, chain, durable in rows
    ]


def batches(name: str, num_batches: int) -> Iterator[tuple[str, list[object]]]:
    """Keys and events: metrics and transitions in turn, one, two or three at a time."""
    for number in range(num_batches):
        events: list[object] = [Stepped(step=number, note=name)] * (number % 3 + 1)
        yield f"{name}-{number}", [*events[1:], Saved(name=name)] if number % 2 else events


def _append(ledger: Path, argument: str, say: Say) -> None:
    """Append the batches `name:count`, each with its key, each tried up to three times."""
    name, _, count = argument.partition(":")
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        for key, events in batches(name, int(count)):
            _append_one(store, f"run/{name}", key, events, say)


def _wait(ledger: Path, argument: str, say: Say) -> None:
    """Append one batch, and warn soon if the lock is not to be had."""
    settings = LedgerSettings(lock_warn_seconds=0.05)
    with open_ledger(ledger, registry=REGISTRY, settings=settings) as store:
        _append_one(store, f"run/{argument}", argument, [Saved(name=argument)], say)


def _append_one(store: FileStore, stream: str, key: str, events: list[object], say: Say) -> None:
    for _ in range(_NUM_TRIES):
        try:
            answer = store.append(stream, events, key=key)
        except (LedgerError, OSError) as error:
            say(f"refused {key} {type(error).__name__} {error}")
        else:
            say(f"ack {key} {answer.first} {answer.last} {answer.chain} {answer.is_durable}")
            return


def _create(ledger: Path, argument: str, say: Say) -> None:
    create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, settings=SMALL).close()
    say("created")
    _append(ledger, argument, say)


def _file(ledger: Path, argument: str, say: Say) -> None:
    """Put blobs and name them: from memory, from a file, and a payload too large for a line."""
    source = ledger.with_name("weights")
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        for number in range(int(argument)):
            source.write_bytes(b"w" * (300 + number))
            ref = store.blobs.put_bytes(b"blob %d" % number)
            moved = store.blobs.put_file(source, move=number % 2 == 0)
            _append_one(store, "run/files", f"file-{number}", [Filed(blobs=(ref, moved))], say)
        _append_one(store, "run/files", "large", [Stepped(step=1, note="x" * 70_000)], say)


def _own(ledger: Path, argument: str, say: Say) -> None:
    """Own a run, append under its guard, let go."""
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store, claim(store, argument, "faults") as ownership:
        answer = store.append("run/own", [Saved(name="owned")], guards=[ownership.guard])
        say(f"ack owned {answer.first} {answer.last} {answer.chain} {answer.is_durable}")


def _sign(ledger: Path, argument: str, say: Say) -> None:
    """Append and sign, in turn; the key lies beside the ledger."""
    signer = KeyFolder(ledger.with_name("keys")).signer(ORIGIN)
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL, signer=signer) as store:
        for number in range(int(argument)):
            for key, events in batches(f"s{number}", 3):
                _append_one(store, "run/signed", key, events, say)
            try:
                note = store.sign_head()
            except (LedgerError, OSError) as error:
                say(f"refused a head {type(error).__name__} {error}")
            else:
                say(f"signed {0 if note is None else parse_note(note).size}")


def _collect(ledger: Path, argument: str, say: Say) -> None:
    """Put blobs, name some of them, and collect the rest."""
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        for number in range(int(argument)):
            ref = store.blobs.put_bytes(b"named %d" % number)
            store.blobs.put_bytes(b"unnamed %d" % number)
            _append_one(store, "run/files", f"named-{number}", [Filed(blobs=(ref,))], say)
        say(f"collected {collect_blobs(store, dry_run=False, grace_hours=0).num_blobs}")


def _index(ledger: Path, argument: str, say: Say) -> None:
    """Fold with an index; the answer is that without one."""
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        expected = project(store, STEPS)
        with open_index(store) as index:
            if project(store, STEPS, index=index) != expected:
                say("violation a fold with the index differs")
            index.update()
        if project(store, STEPS) != expected:
            say("violation a fold behind the index differs")
    say(f"read {argument}")


def _read(ledger: Path, argument: str, say: Say) -> None:
    """Everything a reader does; what it says must not depend on faults, unless it says that there was one."""
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        end = store.end()
        if sum(1 for _ in store.scan()) != end.position:
            say("violation a scan ends before the ledger does")
    if not check_ledger(ledger, "deep", registry=REGISTRY).is_ok:
        say("violation an examination reports damage that is not there")
    say(f"read {end.position} {argument}")


def _storm(ledger: Path, name: str, say: Say) -> None:
    """Keyed batches without end, of one record to hundreds, so that a kill can cut one in two."""
    dice = random.Random(name)
    with open_ledger(ledger, registry=REGISTRY, settings=LedgerSettings(segment_max_bytes=60_000)) as store:
        for number in range(1_000_000):
            size = 300 if dice.random() < 0.03 else dice.randint(1, 3)
            events: list[object] = [Stepped(step=number, note="x" * 200)] * size
            if dice.random() < 0.3:
                events.append(Saved(name=name))
            _append_one(store, f"run/{name}", f"{name}-{number}", events, say)


def _race(ledger: Path, rounds: str, say: Say) -> None:
    """Append with the expected version until this process has won so many rounds."""
    won = 0
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        while won < int(rounds):
            version = store.version("run/race")
            try:
                store.append("run/race", [Stepped(step=version)], expected=version)
            except VersionConflictError:
                continue
            won += 1
            say(f"won {version}")


class _StoppingDisk(Disk):
    """The process is stopped in the middle of its append, with the lock in its hands."""

    is_stopped = False

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        if self.is_stopped:
            return super().write(descriptor, data)
        self.is_stopped = True
        taken = super().write(descriptor, data[: len(data) // 2])
        signal.raise_signal(signal.SIGSTOP)
        return taken


def _stop(ledger: Path, name: str, say: Say) -> None:
    with open_ledger(ledger, registry=REGISTRY, disk=_StoppingDisk()) as store:
        say("stopping")
        _append_one(store, f"run/{name}", name, [Saved(name=name)], say)


def _hold(ledger: Path, run: str, say: Say) -> None:
    """Own a run with a forked worker beside, as a data loader would, until killed."""
    with open_ledger(ledger, registry=REGISTRY) as store:
        ownership = claim(store, run, "faults")
        child = os.fork()
        if child == 0:
            signal.pause()
        say(f"{ownership.fence} {child}")
        signal.pause()


def _write_nothing(ledger: Path, argument: str, say: Say) -> None:
    """Every command on a folder that may not be written to; all but appending must work."""
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        say(f"read {sum(1 for _ in store.scan())}")
    say(f"ok {check_ledger(ledger, 'deep', registry=REGISTRY).is_ok}")
    for act in (
        lambda: open_ledger(ledger, registry=REGISTRY).close(),
        lambda: Blobs(ledger / "blobs").put_bytes(argument.encode()),
        lambda: create_ledger(ledger / "inside", origin=ORIGIN, registry=REGISTRY).close(),
    ):
        try:
            act()
        except WriteError as error:
            say(f"refused {error}")


TASKS: dict[str, Callable[[Path, str, Say], None]] = {
    "append": _append,
    "collect": _collect,
    "create": _create,
    "file": _file,
    "hold": _hold,
    "index": _index,
    "own": _own,
    "race": _race,
    "read": _read,
    "sign": _sign,
    "stop": _stop,
    "storm": _storm,
    "wait": _wait,
    "write nothing": _write_nothing,
}
