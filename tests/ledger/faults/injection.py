"""Each system call of the ledger's work fails, lies, or is the last one of its process."""

from __future__ import annotations

import builtins
import io
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ledger import errors
from ledger.crash_matrix import check_recovery, restart_machine
from ledger.key_files import KeyFolder
from ledger.layout import Layout
from ledger.opening import create_ledger
from tests.ledger.examples import ORIGIN, REGISTRY
from tests.ledger.faults.nursery import Nursery, Worker
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.tasks import SMALL, acknowledged, batches
from tests.ledger.faults.tracing import MISSING, count_calls, num_injected, traced

__all__ = ["Injection", "inject_faults"]

_ERRORS = {
    "chmod": ("EIO",),
    "close": ("EIO",),
    "fchmod": ("EIO",),
    "fdatasync": ("EIO", "ENOSPC"),
    "flock": ("EIO",),
    "fstat": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO",),
    "getdents64": ("EIO",),
    "lseek": ("EIO",),
    "mkdir": ("EIO", "ENOSPC"),
    "newfstatat": ("EIO",),
    "open": ("EIO", "ENOSPC"),
    "openat": ("EIO", "ENOSPC"),
    "pread64": ("EIO",),
    "pwrite64": ("EIO", "ENOSPC"),
    "read": ("EIO",),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "write": ("EIO", "ENOSPC"),
}
_LIES = {"ftruncate": "0", "mkdir": "0", "pread64": "0", "rename": "0", "write": "7"}
"""Results of calls that did nothing. That of a sync that did nothing cannot be told from the truth."""
_PATIENCE_SECONDS = 30.0
_SETTLED = ("ack", "collected", "created", "read", "signed", "warning")
_SCENES = {
    "append": "a:9",
    "collect": "2",
    "create": "a:3",
    "file": "2",
    "index": "",
    "own": "r1",
    "read": "",
    "repair": "a:4",
    "sign": "2",
}
"""What the process is about, and with what."""


@frozen(kw_only=True)
class Injection:
    """One fault in one piece of work."""

    scene: str
    call: str
    number: int
    """Which of these calls, from 1."""
    fault: str
    """What strace does to it."""

    @property
    def option(self) -> str:
        return f"inject={self.call}:{self.fault}:when={self.number}"


def inject_faults(folder: Path, *, num_tries: int | None = None, seed: int = 7) -> Outcome:
    """Try all faults of all calls of all scenes, or `num_tries` of them."""
    name = "each system call fails, lies or is the last"
    if MISSING:
        return Outcome(fault=name, num_tried=0, skipped=MISSING)
    with Nursery(folder) as nursery:
        matrix = [each for scene in _SCENES for each in _injections(nursery, folder, scene)]
        chosen = matrix if num_tries is None else random.Random(seed).sample(matrix, min(num_tries, len(matrix)))
        results = [_try(nursery, folder, each) for each in chosen]
    return Outcome(
        fault=name,
        num_tried=len(results),
        num_struck=sum(num_struck > 0 for num_struck, _ in results),
        violations=tuple(found for _, each in results for found in each),
        note=f"{len(matrix)} faults in all; seed {seed}",
    )


def _injections(nursery: Nursery, folder: Path, scene: str) -> Iterator[Injection]:
    """Every fault of every call that the scene makes when nothing goes wrong."""
    log, ledger = folder / "calls.log", _set_up(folder, scene)
    with nursery.worker(_task(scene, ledger), ledger, _SCENES[scene], is_gated=True) as worker, traced([worker], log):
        worker.lines()
    for call, num_calls in sorted(count_calls(log).items()):
        for number in range(1, num_calls + 1):
            for fault in _faults(call):
                yield Injection(scene=scene, call=call, number=number, fault=fault)


def _faults(call: str) -> Iterator[str]:
    if call in _ERRORS:
        yield from (f"error={error}" for error in _ERRORS[call])
        yield "signal=SIGKILL"
    if call in _LIES:
        yield f"retval={_LIES[call]}"


def _try(nursery: Nursery, folder: Path, injection: Injection) -> tuple[int, list[str]]:
    """How often the fault struck, and what it broke."""
    log, scene = folder / "injected.log", injection.scene
    ledger = _set_up(folder, scene)
    options = ("-e", f"trace={injection.call}", "-e", injection.option)
    with nursery.worker(_task(scene, ledger), ledger, _SCENES[scene], is_gated=True) as worker, traced([worker], log, *options):
        said, is_hung = _said(worker)
    found = [line for line in said if _is_bug(line)] + ["it hangs"] * is_hung
    answers = acknowledged(said)
    found += _lost_heads(ledger, said)
    if (ledger / "LEDGER.json").exists():
        found += check_recovery(ledger, REGISTRY, answers)
        restart_machine(ledger)
    with nursery.worker(_task(scene, ledger), ledger, _SCENES[scene]) as again:
        later, is_hung = _said(again)
    found += ["afterwards: it hangs"] * is_hung
    found += [f"afterwards: {line}" for line in later if not line.startswith(_SETTLED)]
    found += [f"afterwards: {each}" for each in check_recovery(ledger, REGISTRY, [*answers, *acknowledged(later)])]
    return num_injected(log), [f"{scene}, {injection.option}: {each}" for each in found]


def _said(worker: Worker) -> tuple[list[str], bool]:
    """All that `worker` says, and whether it had to be killed because it said no more and did not end."""
    hung: list[Worker] = []

    def end() -> None:
        hung.append(worker)
        worker.kill()

    timer = threading.Timer(_PATIENCE_SECONDS, end)
    timer.start()
    try:
        return worker.lines(), bool(hung)
    finally:
        timer.cancel()


def _set_up(folder: Path, scene: str) -> Path:
    """The ledger with which the scene begins."""
    ledger = folder / "ledger"
    shutil.rmtree(ledger, ignore_errors=True)
    if scene == "create":
        return ledger
    keys = KeyFolder(folder / "keys")
    signer = (keys.signer(ORIGIN) if keys.list() else keys.create(ORIGIN)) if scene == "sign" else None
    with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, settings=SMALL, signer=signer) as store:
        for key, events in batches("before", 4):
            store.append("run/before", events, key=key)
    if scene == "repair":
        with sorted((ledger / "seg").iterdir())[-1].open("ab") as segment:
            segment.write(b'{"c":"AAAA')
    return ledger


def _lost_heads(ledger: Path, said: list[str]) -> list[str]:
    """Every head that was answered is in place, or a later one."""
    sizes = [int(line.split()[1]) for line in said if line.startswith("signed ")]
    head = Layout(ledger).read_head()
    return [f"the head of {max(sizes)} records is lost"] if sizes and (head is None or head.size < max(sizes)) else []


def _task(scene: str, ledger: Path) -> str:
    """A creation that was cut short is done anew, and one that was not goes on."""
    is_created = (ledger / "LEDGER.json").exists()
    return {"repair": "append", "create": "append" if is_created else "create"}.get(scene, scene)


def _is_bug(line: str) -> bool:
    """Whether a process ended by an error that is neither the ledger's nor the system's, or broke a promise itself."""
    word, _, rest = line.partition(" ")
    name = rest.split(" ")[0]
    kind = next((getattr(module, name) for module in (errors, builtins, io) if hasattr(module, name)), Exception)
    return word == "violation" or (word == "failed" and not issubclass(kind, errors.LedgerError | OSError))
