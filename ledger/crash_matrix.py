"""Every fault that one piece of work can meet, tried one by one: your own events and deciders against a bad disk.

`CrashMatrix` runs the work on a fresh ledger once for each storage call that it makes and each way in which that call can
fail, and damages the finished ledger byte by byte, bit by bit and line by line. Three things must hold each time: what
was acknowledged is there, what is there verifies, and what cannot be explained by a crash is reported.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from ledger.chain import verify_lines
from ledger.disk import Disk
from ledger.errors import CorruptError, IntegrityError, LedgerError, SetupError
from ledger.faulty_disk import FAULTS, Died, FaultyDisk
from ledger.fsck import check_ledger
from ledger.layout import Layout
from ledger.opening import create_ledger, open_ledger
from ledger.record import Appended, Cursor
from ledger.registry import Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings

__all__ = ["CrashMatrix", "MatrixReport", "Work", "check_damage", "check_recovery", "restart_machine"]

Work = Callable[[FileStore], Iterator[Appended]]
"""Appends, and yields every answer as soon as it has it. Run again it must do no harm: give each append a key."""


@frozen(kw_only=True)
class MatrixReport:
    """What became of the faults that were tried."""

    num_tried: int
    violations: tuple[str, ...]
    """One sentence for each promise that was broken; none if the ledger is right."""

    @property
    def is_ok(self) -> bool:
        return not self.violations


def check_recovery(path: Path, registry: Registry, answers: Iterable[Appended]) -> tuple[str, ...]:
    """What is wrong with the ledger at `path` after a fault: it must open, hold what `answers` acknowledged, and verify."""
    try:
        with open_ledger(path, registry=registry) as store:
            lines = list(store.lines())
            if verify_lines(lines, after=Cursor.genesis(store.origin)) != store.end():
                return ("the end of the ledger is not where its lines end",)
        report = check_ledger(path, "deep", registry=registry)
    except (LedgerError, OSError) as error:
        return (f"it does not open: {error}",)
    chains = [line[6:50].decode() for line in lines]
    lost = [each for each in answers if each.last >= len(chains) or chains[each.last] != each.chain]
    found = [f"the batch acknowledged at positions {each.first} to {each.last} is lost or changed" for each in lost]
    return (*found, *(each.message for each in report.findings if each.severity == "error"))


def check_damage(path: Path, registry: Registry) -> str:
    """The error with which the damaged ledger at `path` is refused, or what an examination finds; empty if nothing says so."""
    try:
        with open_ledger(path, registry=registry) as store:
            for _ in store.lines():
                pass
    except (IntegrityError, SetupError) as error:
        return str(error)
    errors = [each.message for each in check_ledger(path, "deep", registry=registry).findings if each.severity == "error"]
    return errors[0] if errors else ""


def restart_machine(path: Path) -> None:
    """Have the mark of a failed sync, if there is one, date from before the machine's last start."""
    lock = Layout(path).lock
    words = lock.read_text().split()
    if words:
        lock.write_text(" ".join([*words[:-1], "an-earlier-boot"]) + "\n")


class CrashMatrix:
    """The faults of one piece of work, tried on ledgers below `folder`."""

    def __init__(self, folder: Path, registry: Registry, work: Work, *, settings: LedgerSettings | None = None) -> None:
        self._folder = folder
        self._registry = registry
        self._work = work
        self._settings = settings
        self._empty = folder / "empty"
        create_ledger(self._empty, origin="crash.invalid/matrix", registry=registry, settings=settings).close()

    def storage_calls(self, *, every: int = 1) -> MatrixReport:
        """Each write and each sync of the work fails or is the last thing the process does, in each way; then the work goes on."""
        disk = FaultyDisk()
        num_answers = len(self._run(self._copy(self._empty), disk))
        tries = [(kind, number, fault) for kind, faults in FAULTS.items() for number in range(disk.num_calls[kind]) for fault in faults][
            ::every
        ]
        return _report(len(tries), (found for each in tries for found in self._storage_call(num_answers, *each)))

    def cuts(self, *, every: int = 1) -> MatrixReport:
        """The highest segment is cut at each byte: whole batches stay, the rest goes to quarantine, and that is recorded."""
        whole = self.finished()
        segment = sorted(Layout(whole).segments.iterdir())[-1].name
        sizes = range(0, (whole / "seg" / segment).stat().st_size + 1, every)
        return _report(len(sizes), (found for size in sizes for found in self._cut(whole, segment, size)))

    def flips(self, *, every: int = 1) -> MatrixReport:
        """Each bit of each file that counts is flipped: it is refused or found, and not repaired away."""
        whole = self.finished()
        places = [(path, index) for path in _files(whole) for index in range(8 * path.stat().st_size)][::every]
        return _report(len(places), (found for path, index in places for found in self._flip(whole, path, index)))

    def moved_lines(self) -> MatrixReport:
        """Each line of each segment is taken out, repeated, or exchanged with the next one: it is refused or found."""
        whole = self.finished()
        tries = [
            (path, how, index) for path in _segments(whole) for how in ("delete", "double", "swap") for index in range(_num_lines(path))
        ]
        return _report(len(tries), (found for each in tries for found in self._moved(whole, *each)))

    def finished(self) -> Path:
        """A ledger with all of the work in it."""
        target = self._folder / "finished"
        if not target.exists():
            shutil.copytree(self._empty, target)
            self._run(target, Disk())
        return target

    def _run(self, path: Path, disk: Disk) -> list[Appended]:
        """The answers that the work had before it ended, however that was."""
        answers: list[Appended] = []
        store = None
        try:
            store = open_ledger(path, registry=self._registry, settings=self._settings, disk=disk)
            answers.extend(self._work(store))
        except (Died, LedgerError):
            pass
        finally:
            _abandon(store)
        return answers

    def _storage_call(self, num_answers: int, kind: str, number: int, fault: str) -> Iterator[str]:
        name = f"{kind} {number} {fault}"
        path = self._copy(self._empty)
        answers = self._run(path, FaultyDisk(kind, number, fault))
        for found in check_recovery(path, self._registry, answers):
            yield f"{name}: {found}"
        restart_machine(path)
        again = self._run(path, Disk())
        if len(again) != num_answers:
            yield f"{name}: run again, the work had {len(again)} of {num_answers} answers"
        for found in check_recovery(path, self._registry, [*answers, *again]):
            yield f"{name}, run again: {found}"

    def _cut(self, whole: Path, segment: str, size: int) -> Iterator[str]:
        path = self._copy(whole)
        target = path / "seg" / segment
        data = target.read_bytes()[:size]
        target.write_bytes(data)
        good = _good_bytes(data)
        try:
            with open_ledger(path, registry=self._registry) as store:
                kept = target.read_bytes()[:good]
                names = [record.name for record in store.scan()]
        except CorruptError:
            if good:
                yield f"cut at byte {size}: refused, although {good} bytes hold whole batches"
            return
        left = [each.read_bytes() for each in (path / "quarantine").glob("*")]
        if kept != data[:good] or left != [data[good:]] * (size > good) or (names[-1] == "ledger.repaired") != (size > good):
            yield f"cut at byte {size}: it opens with something else than the {good} bytes of whole batches"

    def _flip(self, whole: Path, source: Path, index: int) -> Iterator[str]:
        path = self._copy(whole)
        target = path / source.relative_to(whole)
        data = bytearray(target.read_bytes())
        data[index // 8] ^= 1 << (index % 8)
        yield from self._replaced(path, target, bytes(data), f"bit {index % 8} of byte {index // 8} flipped")

    def _moved(self, whole: Path, source: Path, how: str, index: int) -> Iterator[str]:
        lines = source.read_bytes().splitlines(keepends=True)
        here, behind = lines[index : index + 1], lines[index + 1 :]
        moved = {"delete": behind, "double": [*here, *here, *behind], "swap": [*behind[:1], *here, *behind[1:]]}[how]
        data = b"".join([*lines[:index], *moved])
        is_seen = data != source.read_bytes() and not source.read_bytes().startswith(data)  # a shorter ledger is a good ledger
        if is_seen or _segments(whole)[-1] != source:
            path = self._copy(whole)
            yield from self._replaced(
                path, path / source.relative_to(whole), data, f"{how} line {index}", is_same=data == source.read_bytes()
            )

    def _replaced(self, path: Path, target: Path, data: bytes, name: str, *, is_same: bool = False) -> Iterator[str]:
        target.unlink()
        target.write_bytes(data)
        if not check_damage(path, self._registry) and not is_same:
            yield f"{target.name}, {name}: nothing is said"
        if target.read_bytes() != data:
            yield f"{target.name}, {name}: the file was changed"

    def _copy(self, source: Path) -> Path:
        target = self._folder / "copy"
        shutil.rmtree(target, ignore_errors=True)
        return shutil.copytree(source, target)


def _report(num_tried: int, violations: Iterable[str]) -> MatrixReport:
    return MatrixReport(num_tried=num_tried, violations=tuple(violations))


def _abandon(store: FileStore | None) -> None:
    """Close the files of `store` as the end of its process would."""
    try:
        if store is not None:
            store.close()
    except (Died, LedgerError):
        pass


def _segments(ledger: Path) -> Sequence[Path]:
    return sorted(Layout(ledger).segments.glob("*.jsonl"))


def _files(ledger: Path) -> Iterator[Path]:
    """What the ledger is made of; all else can be made again."""
    yield Layout(ledger).identity
    yield from _segments(ledger)
    yield from sorted(path for path in Layout(ledger).blobs.glob("sha256/*/*"))


def _num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _good_bytes(data: bytes) -> int:
    """Where the last whole batch of `data` ends; its lines say which of how many they are."""
    good = offset = 0
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        offset += len(line)
        first, _, rest = line.partition(b',"b":[')[2].partition(b",")
        if rest and first == rest.partition(b"]")[0]:
            good = offset
    return good
