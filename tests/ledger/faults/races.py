"""Two at once: creators, claimers, a reader beside a repair, a roll beside a sync."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ledger.collection import collect_blobs, release_blob
from ledger.crash_matrix import check_recovery
from ledger.disk import Disk
from ledger.errors import AlreadyOwnedError, BlobMissingError, LedgerExistsError, WriteError
from ledger.layout import Layout
from ledger.opening import create_ledger, open_ledger
from ledger.ownership import Ownership, claim
from ledger.record import Appended
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped
from tests.ledger.faults.outcome import Outcome

__all__ = ["race_claimers", "race_collection", "race_creators", "race_reader", "race_rolls"]

_TORN = b'{"c":"AAAA'


def race_creators(folder: Path, *, num_rounds: int) -> Outcome:
    """Two create a ledger at the same place: one does, the other is told, and the ledger is good."""
    found: list[str] = []
    created: list[int] = []
    ledger = folder / "created"

    def create() -> None:
        with suppress(LedgerExistsError):
            create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
            created.append(1)

    for number in range(num_rounds):
        shutil.rmtree(ledger, ignore_errors=True)
        created.clear()
        _together([create, create])
        if len(created) != 1:
            found.append(f"round {number}: {len(created)} of 2 creators were successful")
        found += check_recovery(ledger, REGISTRY, ())
    return Outcome(fault="two creators", num_tried=num_rounds, violations=tuple(found))


def race_claimers(folder: Path, *, num_rounds: int) -> Outcome:
    """Two claim a run: it never has two owners, and every owner has a higher fence than the one before."""
    ledger = folder / "claimed"
    create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
    found: list[str] = []
    fences: list[int] = []
    owners: list[Ownership] = []

    def work(store: FileStore) -> None:
        try:
            with claim(store, "r1", "race") as ownership:
                owners.append(ownership)
                if len(owners) != 1:
                    found.append("two owners at once")
                fences.append(ownership.fence)
                owners.remove(ownership)
        except AlreadyOwnedError:
            pass

    with open_ledger(ledger, registry=REGISTRY) as first, open_ledger(ledger, registry=REGISTRY) as second:
        for _ in range(num_rounds):
            _together([lambda: work(first), lambda: work(second)])
    if fences != sorted(set(fences)):
        found.append("an owner has no higher fence than the one before")
    found += check_recovery(ledger, REGISTRY, ())
    return Outcome(fault="two claimers", num_tried=num_rounds, violations=tuple(found), note=f"{len(fences)} claims were successful")


def race_reader(folder: Path, *, num_rounds: int) -> Outcome:
    """A reader reads while torn tails come and are repaired: it sees every record once and never damage."""
    ledger = folder / "read"
    create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
    found: list[str] = []
    answers: list[Appended] = []
    is_over = threading.Event()

    def tear_and_repair() -> None:
        try:
            for number in range(num_rounds):
                _tear(ledger)
                with open_ledger(ledger, registry=REGISTRY) as store:
                    answers.append(store.append("run/a", [Stepped(step=number)] * 2))
        finally:
            is_over.set()

    def read() -> None:
        with open_ledger(ledger, registry=REGISTRY, write=False) as store:
            start = store.end()
            tail = store.tail(start)
            seen: list[int] = []
            while not is_over.is_set() or store.end().position > start.position + len(seen):
                seen += [record.position for record in tail.read()]
            tail.close()
        if seen != list(range(start.position, start.position + len(seen))):
            found.append("a reader saw records twice, or not at all")

    _together([tear_and_repair, read], found)
    found += check_recovery(ledger, REGISTRY, answers)
    return Outcome(fault="a reader beside repairs", num_tried=num_rounds, violations=tuple(found))


class _Remembering(Disk):
    """A disk that knows how much of each file is certain to be on it."""

    def __init__(self) -> None:
        self.certain: dict[int, int] = {}

    def sync(self, descriptor: int) -> None:
        before = os.fstat(descriptor)
        super().sync(descriptor)
        self.certain[before.st_ino] = max(before.st_size, self.certain.get(before.st_ino, 0))


def race_rolls(folder: Path, *, num_rounds: int, num_threads: int = 4) -> Outcome:
    """Threads append while segments roll under them: no answer comes before its bytes were synced."""
    ledger = folder / "rolled"
    create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
    disk, found = _Remembering(), []
    answers: list[Appended] = []
    with open_ledger(ledger, registry=REGISTRY, settings=LedgerSettings(segment_max_bytes=1_500), disk=disk) as store:

        def append(name: str) -> None:
            for number in range(num_rounds // num_threads):
                answer = store.append(f"run/{name}", [Saved(name=name)], key=f"{name}-{number}")
                answers.append(answer)
                if not _is_synced(ledger, disk, answer):
                    found.append(f"position {answer.last} was acknowledged before it was synced")

        _together([lambda name=f"t{number}": append(name) for number in range(num_threads)], found)  # type: ignore[misc]  # a bound name
    found += check_recovery(ledger, REGISTRY, answers)
    return Outcome(fault="rolls beside syncs", num_tried=len(answers), violations=tuple(found))


def race_collection(folder: Path, *, num_rounds: int) -> Outcome:
    """Blobs are put and named while all that nobody names is collected at once: what is named is there."""
    ledger = folder / "collected"
    create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
    found: list[str] = []
    answers: list[Appended] = []
    refused: list[str] = []
    is_over = threading.Event()

    def put_and_name(name: str) -> None:
        with open_ledger(ledger, registry=REGISTRY) as store:
            for number in range(num_rounds // 2):
                try:
                    ref = store.blobs.put_bytes(b"blob %d" % (number % 50))
                    answers.append(store.append(f"run/{name}", [Filed(blobs=(ref,))]))
                except (BlobMissingError, WriteError) as error:  # without a time of grace it may go before it is named
                    refused.append(str(error))
                    continue
                if number % 10 == 0:
                    release_blob(store, ref, "retention", "race")

    def put_all() -> None:
        try:
            _together([lambda: put_and_name("a"), lambda: put_and_name("b")], found)
        finally:
            is_over.set()

    def collect() -> None:
        with open_ledger(ledger, registry=REGISTRY) as store:
            while not is_over.is_set():
                collect_blobs(store, dry_run=False, grace_hours=0)

    _together([put_all, collect], found)
    found += check_recovery(ledger, REGISTRY, answers)
    note = f"{len(refused)} appends were refused for a blob that had just gone"
    return Outcome(fault="collection beside puts", num_tried=num_rounds, violations=tuple(found), note=note)


def _is_synced(ledger: Path, disk: _Remembering, answer: Appended) -> bool:
    """Whether the answer's last line is within what was synced of its file; a file is synced before it has a successor."""
    paths = sorted(Layout(ledger).segments.glob("*.jsonl"), reverse=True)
    for path in paths:
        data = path.read_bytes()
        index = data.find(b'{"c":"%s"' % answer.chain.encode())
        if index >= 0:
            return path != paths[0] or data.index(b"\n", index) < disk.certain.get(path.stat().st_ino, 0)
    return False


def _tear(ledger: Path) -> None:
    """What a writer leaves that dies in its write: under the lock."""
    with Layout(ledger).lock.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Layout(ledger).segment(0).open("ab") as segment:
            segment.write(_TORN)


def _together(acts: Sequence[Callable[[], None]], found: list[str] | None = None) -> None:
    """Do `acts` at the same time; what one raises is among what was `found`, or raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        start.wait()
        try:
            act()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if found is not None:
        found += [f"{type(error).__name__}: {error}" for error in raised]
    elif raised:
        raise raised[0]
