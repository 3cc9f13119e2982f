"""What processes do to each other: one is stopped with the lock in its hands, forks, dies, or may not write at all."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ledger.clock import Clock
from ledger.crash_matrix import check_recovery, restart_machine
from ledger.disk import Disk, lock_holder
from ledger.errors import DiskFullError, LedgerClosedError, PoisonedError, WriteError
from ledger.fsck import check_ledger
from ledger.layout import Layout
from ledger.opening import create_ledger, open_ledger
from ledger.ownership import wait_for_death
from ledger.record import Appended
from ledger.testing import FixedClock
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped
from tests.ledger.faults.nursery import Nursery
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.tasks import acknowledged, batches

__all__ = ["break_syncs", "fill_disk", "forbid_writing", "fork", "kill_owners", "set_clock_back", "stop_under_lock"]

_DEATH_SECONDS = 0.05
_DAY_MS = 86_400_000


def stop_under_lock(folder: Path, *, num_waiting: int = 16) -> Outcome:
    """A writer is stopped in its write; the others wait for it, and go on when it goes on, and when it is killed."""
    found: list[str] = []
    ledger = _new(folder)
    with Nursery(folder) as nursery:
        for ending in (signal.SIGCONT, signal.SIGKILL):
            with ExitStack() as stack:
                stopped = stack.enter_context(nursery.worker("stop", ledger, f"stopped-{ending.name}"))
                assert stopped.line() == "stopping"
                _wait_until_stopped(stopped.pid)
                if lock_holder(Layout(ledger).lock) != stopped.pid:
                    found.append("the holder of the lock is not named")
                names = [f"{ending.name}-{number}" for number in range(num_waiting)]
                waiting = [stack.enter_context(nursery.worker("wait", ledger, name)) for name in names]
                found += [line for worker in waiting if f"locked by process {stopped.pid} " not in (line := worker.line())]
                os.kill(stopped.pid, ending)
                said = [worker.lines() for worker in waiting]
                said.append(stopped.lines())
            answers = [answer for lines in said for answer in acknowledged(lines)]
            if len(answers) != num_waiting + (ending is signal.SIGCONT):
                found.append(f"{len(answers)} batches were acknowledged after {ending.name}")
            found += check_recovery(ledger, REGISTRY, answers)
    return Outcome(fault="a writer stopped under the lock", num_tried=2, violations=tuple(found), note=f"{num_waiting} writers waited")


def fork(folder: Path, *, num_rounds: int) -> Outcome:
    """A process forks while its threads append: children are refused, the parent loses nothing."""
    ledger = _new(folder)
    found: list[str] = []
    answers: list[Appended] = []
    is_over = threading.Event()
    with open_ledger(ledger, registry=REGISTRY) as store:

        def append(name: str) -> None:
            number = 0
            while not is_over.is_set():
                answers.append(store.append(f"run/{name}", [Saved(name=name)], key=f"{name}-{number}"))
                number += 1

        threads = [threading.Thread(target=append, args=(f"t{number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(num_rounds):
            child = os.fork()
            if child == 0:
                _end_child(lambda: store.append("run/child", [Saved(name="child")]))
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
                found.append("a child was not refused")
        is_over.set()
        for thread in threads:
            thread.join()
        if store.version("run/child"):
            found.append("a child appended")
    found += check_recovery(ledger, REGISTRY, answers)
    return Outcome(
        fault="a fork in the middle of appends", num_tried=num_rounds, violations=tuple(found), note=f"{len(answers)} batches by 3 threads"
    )


def kill_owners(folder: Path, *, num_rounds: int) -> Outcome:
    """An owner with a forked worker is killed: its run is free within 50 ms, though the worker lives."""
    ledger = _new(folder)
    found, waits = [], []
    with Nursery(folder) as nursery:
        for number in range(num_rounds):
            with nursery.worker("hold", ledger, f"r{number}") as owner:
                child = int(owner.line().split()[1])
                owner.kill()
                begin = time.perf_counter()
                is_free = wait_for_death(ledger, f"r{number}", _DEATH_SECONDS)
                waits.append(time.perf_counter() - begin)
                if not is_free:
                    found.append(f"run r{number} was not free {_DEATH_SECONDS * 1000:g} ms after its owner's death")
                os.kill(child, signal.SIGKILL)
    note = f"longest wait {max(waits) * 1000:.1f} ms"
    return Outcome(fault="an owner killed beside its forked worker", num_tried=num_rounds, violations=tuple(found), note=note)


class _DaysBack(FixedClock):
    """A clock that is set back a day whenever it is looked at."""

    def now_ms(self) -> int:
        self.time_ms -= _DAY_MS
        return self.time_ms


def set_clock_back(folder: Path) -> Outcome:
    """The same appends, with a clock that stands and one that runs backwards: same order, same fold."""
    folds = []
    clocks: tuple[Clock, ...] = (FixedClock(), _DaysBack())
    for number, clock in enumerate(clocks):
        ledger = folder / f"clock-{number}"
        with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, clock=clock) as store:
            answers = [store.append("run/a", events, key=key) for key, events in batches("a", 20)]
        with open_ledger(ledger, registry=REGISTRY, write=False) as store:
            folds.append([(record.position, record.version, record.event) for record in store.scan(start=1)])
        found = list(check_recovery(ledger, REGISTRY, answers))
    if folds[0] != folds[1]:
        found.append("the order of the records depends on the clock")
    return Outcome(fault="the clock set back a day between appends", num_tried=20, violations=tuple(found))


def forbid_writing(folder: Path) -> Outcome:
    """A ledger in folders that may not be written to: all but writing works, and that is refused in one sentence."""
    name = "a folder that may not be written to"
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    if prefix and shutil.which("setpriv") is None:
        return Outcome(fault=name, num_tried=0, skipped="run by root, whom no permission stops, and setpriv is not installed")
    ledger = _new(folder)
    places = [ledger, *ledger.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with Nursery(folder, *prefix) as nursery, nursery.worker("write nothing", ledger, "blob") as worker:
            said = worker.lines()
    finally:
        for path in places:
            path.chmod(0o755)
    refused = [line for line in said if line.startswith("refused ")]
    is_right = (
        said[:2] == ["read 8", "ok True"] and len(refused) == len(said) - 2 == 3 and all("Permission denied" in line for line in refused)
    )
    found = check_recovery(ledger, REGISTRY, ())
    return Outcome(fault=name, num_tried=5, violations=(*found, *([] if is_right else [f"it said {said}"])))


def fill_disk(folder: Path, *, every: int) -> Outcome:
    """The system takes `n` bytes of a batch and no more, for every n: it is cut back and refused, and the handle goes on."""
    ledger = _new(folder)
    segment = Layout(ledger).segment(0)
    found: list[str] = []
    num_tried = 0
    with open_ledger(ledger, registry=REGISTRY) as store:
        before = segment.read_bytes()
        length = len(_appended(folder)) - len(before)
        for taken in range(0, length, every):
            num_tried += 1
            with _file_limit(len(before) + taken):
                try:
                    store.append("run/full", [Stepped(step=1)] * 3, key="full")
                    found.append(f"{taken} bytes: acknowledged")
                except DiskFullError:
                    pass
                if segment.read_bytes() != before:
                    found.append(f"{taken} bytes: not cut back")
        answer = store.append("run/full", [Stepped(step=1)] * 3, key="full")
    found += check_recovery(ledger, REGISTRY, [answer])
    return Outcome(fault="the disk full after each byte of a batch", num_tried=num_tried, violations=tuple(found))


class _BrokenSync(Disk):
    """A disk whose sync number `number` fails."""

    def __init__(self, number: int) -> None:
        self.left = number

    def sync(self, descriptor: int) -> None:
        self.left -= 1
        if self.left == -1:
            raise OSError(5, "Input/output error")
        super().sync(descriptor)


def break_syncs(folder: Path, *, num_syncs: int) -> Outcome:
    """The n-th sync of one process fails: nobody acknowledges anything until the machine was restarted, or the ledger repaired."""
    found: list[str] = []
    for number in range(num_syncs):
        ledger = _new(folder)
        answers: list[Appended] = []
        other = open_ledger(ledger, registry=REGISTRY)
        store = open_ledger(ledger, registry=REGISTRY, disk=_BrokenSync(number))
        for turn in range(num_syncs + 1):
            for name, each in (("a", store), ("b", other)):
                try:
                    answers.append(each.append(f"run/{name}", [Saved(name=name)], key=f"{name}-{turn}"))
                    if turn > number:
                        found.append(f"sync {number}: {name} was acknowledged afterwards")
                except PoisonedError:
                    pass
        for each in (store, other):
            with suppress(PoisonedError):
                each.close()
        found += check_recovery(ledger, REGISTRY, answers)
        if number % 2:
            restart_machine(ledger)
        elif not check_ledger(ledger, registry=REGISTRY, repair=True).is_ok:
            found.append(f"sync {number}: the repair left errors")
        with open_ledger(ledger, registry=REGISTRY) as late:
            answers += [late.append(f"run/{name}", [Saved(name=name)], key=f"{name}-{turn}") for name in "ab" for turn in range(num_syncs)]
        found += check_recovery(ledger, REGISTRY, answers)
    return Outcome(fault="the n-th sync fails", num_tried=num_syncs, violations=tuple(found))


def _new(folder: Path) -> Path:
    """A ledger of a few records."""
    ledger = folder / "ledger"
    shutil.rmtree(ledger, ignore_errors=True)
    with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY) as store:
        for key, events in batches("before", 4):
            store.append("run/before", events, key=key)
    return ledger


def _appended(folder: Path) -> bytes:
    """What the segment will hold when the batch that has no room has room."""
    ledger = folder / "beside"
    shutil.copytree(folder / "ledger", ledger)
    with open_ledger(ledger, registry=REGISTRY) as store:
        store.append("run/full", [Stepped(step=1)] * 3, key="full")
    return Layout(ledger).segment(0).read_bytes()


@contextmanager
def _file_limit(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond `num_bytes`."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def _end_child(act: object) -> None:
    """Exit status 0 if `act` is refused because of the fork; never returns."""
    status = 1
    try:
        assert callable(act)
        act()
    except LedgerClosedError:
        status = 0
    except WriteError:
        status = 2
    finally:
        os._exit(status)


def _wait_until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()
