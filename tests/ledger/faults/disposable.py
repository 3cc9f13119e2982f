"""What can be made again may be garbled or missing without changing an answer; an old copy of the rest is recognised."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from ledger.errors import TamperedError
from ledger.fsck import check_ledger
from ledger.index import open_index
from ledger.layout import Layout
from ledger.merkle import Frontier
from ledger.opening import create_ledger, open_ledger
from ledger.projection import project
from ledger.proofs import prove
from ledger.record import Cursor
from ledger.settings import LedgerSettings
from ledger.tree_head import Signer, parse_note
from tests.ledger.examples import ORIGIN, REGISTRY, Saved
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.tasks import SMALL, batches
from tests.ledger.folds import STEPS

__all__ = ["garble_index", "garble_summaries", "garble_tiles", "restore_old_backup"]

_NUM_BATCHES = 30
_OFTEN = LedgerSettings(snapshot_every_records=10)


def garble_summaries(folder: Path, *, num_tries: int, seed: int = 7) -> Outcome:
    """A bit of a summary is flipped, its end is cut off, or it is gone: opening reads the segments and knows the same."""
    dice = random.Random(seed)
    ledger, expected = _filled(folder)
    found: list[str] = []
    for number in range(num_tries):
        copy = folder / "garbled"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(ledger, copy)
        for path in Layout(copy).blobs.glob("sha256/*/*"):
            _garble(path, dice)
        if (known := _known(copy)) != expected:
            found.append(f"try {number}: {known} instead of {expected}")
    return Outcome(fault="summaries garbled", num_tried=num_tries, violations=tuple(found), note=f"seed {seed}")


def garble_index(folder: Path, *, num_tries: int, seed: int = 7) -> Outcome:
    """The index is garbled in every way: a fold with it gives the state that a fold without it gives."""
    dice = random.Random(seed)
    ledger, _ = _filled(folder)
    with open_ledger(ledger, registry=REGISTRY) as store, open_index(store, settings=_OFTEN) as index:
        expected = project(store, STEPS, index=index)
        index.update()
    whole = (ledger / "index.sqlite").read_bytes()
    found: list[str] = []
    for number in range(num_tries):
        for path in ledger.glob("index.sqlite*"):
            path.unlink()
        (ledger / "index.sqlite").write_bytes(whole)
        _garble(ledger / "index.sqlite", dice)
        with open_ledger(ledger, registry=REGISTRY, write=number % 2 == 0) as store:
            with open_index(store, write=number % 3 > 0, settings=_OFTEN) as index:
                states = [project(store, STEPS, index=index), project(store, STEPS), project(store, STEPS, at=40, index=index)]
            if states != [expected, expected, project(store, STEPS, at=40)]:
                found.append(f"try {number}: a fold differs")
        if not check_ledger(ledger, "deep", registry=REGISTRY).is_ok:
            found.append(f"try {number}: an examination calls the ledger damaged")
    return Outcome(fault="the index garbled", num_tried=num_tries, violations=tuple(found), note=f"seed {seed}")


def garble_tiles(folder: Path, *, num_tries: int, seed: int = 7) -> Outcome:
    """A tile is garbled or gone: heads go on, the proof of each record is the one it was, and no error is reported."""
    dice = random.Random(seed)
    signer = Signer.generate(ORIGIN)
    ledger = folder / "signed"
    with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, signer=signer) as store:
        for key, events in batches("a", 200):
            store.append("run/a", events, key=key)
        store.sign_head()
        expected = prove(store, 7)
    found: list[str] = []
    for number in range(num_tries):
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(ledger, copy)
        _garble(dice.choice(sorted(path for path in Layout(copy).tiles.rglob("*") if path.is_file())), dice)
        if not check_ledger(copy).is_ok:
            found.append(f"try {number}: an examination calls the ledger damaged")
        with open_ledger(copy, registry=REGISTRY, signer=signer) as store:
            if prove(store, 7) != expected:
                found.append(f"try {number}: another proof")
            store.append("run/a", [Saved(name="x")])
            note = store.sign_head()
        if note is None or parse_note(note).root != _root(copy, parse_note(note).size):
            found.append(f"try {number}: the next head is not that of the records")
    return Outcome(fault="tiles garbled", num_tried=num_tries, violations=tuple(found), note=f"seed {seed}")


def _root(ledger: Path, size: int) -> bytes:
    frontier = Frontier()
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        frontier.extend_lines(store.lines(0, size))
    return frontier.root()


def restore_old_backup(folder: Path) -> Outcome:
    """The ledger is put back to each earlier batch: whoever kept a cursor notices."""
    ledger, _ = _filled(folder)
    with open_ledger(ledger, registry=REGISTRY) as store:
        kept = store.end()
        ends = [record.position + 1 for record in store.scan() if record.batch_index == record.batch_size]
    segments = sorted(Layout(ledger).segments.glob("*.jsonl"))
    found, num_tried = [], 0
    for end in ends[:-1]:
        copy = folder / "backup"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(ledger, copy)
        _keep(copy, segments, end)
        num_tried += 1
        if not _is_noticed(copy, kept):
            found.append(f"the ledger of {end} records passes for one of {kept.position}")
    return Outcome(fault="an old backup beside a newer cursor", num_tried=num_tried, violations=tuple(found))


def _filled(folder: Path) -> tuple[Path, dict[str, object]]:
    """A ledger of several segments, and what is known of it."""
    ledger = folder / "whole"
    with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, settings=SMALL) as store:
        for key, events in batches("a", _NUM_BATCHES):
            store.append("run/a", events, key=key)
    return ledger, _known(ledger)


def _known(ledger: Path) -> dict[str, object]:
    with open_ledger(ledger, registry=REGISTRY, settings=SMALL) as store:
        return {"end": store.end(), "a": store.version("run/a"), "ledger": store.version("ledger"), "records": list(store.read("run/a"))}


def _garble(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()
    match dice.randrange(4):
        case 0:
            return
        case 1:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        case 2:
            del data[dice.randrange(len(data)) :]
        case _:
            data[:] = dice.randbytes(len(data))
    path.write_bytes(data)


def _keep(ledger: Path, segments: list[Path], num_records: int) -> None:
    """Cut the ledger to its first records, as an old copy would have them."""
    for source in segments:
        target = ledger / "seg" / source.name
        lines = source.read_bytes().splitlines(keepends=True)[:num_records]
        num_records -= len(lines)
        target.unlink()
        if lines:
            target.write_bytes(b"".join(lines))


def _is_noticed(ledger: Path, kept: Cursor) -> bool:
    try:
        with open_ledger(ledger, registry=REGISTRY, write=False) as store:
            store.tail(kept).close()
    except TamperedError:
        return True
    return False
