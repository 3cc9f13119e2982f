"""The loss of power at any step: what a disk may hold of writes that nobody waited for.

A recorded history is played on a model of a file system that promises no more than POSIX does. A write is certain once
its file was synced, a name once its folder was. Of everything else any part may be there, and of the last write only
some sectors.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from ledger.crash_matrix import check_recovery
from ledger.key_files import KeyFolder
from ledger.opening import create_ledger
from tests.ledger.examples import ORIGIN, REGISTRY
from tests.ledger.faults.nursery import Nursery
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.recording import OPTIONS, Step, steps_of
from tests.ledger.faults.tasks import SMALL, acknowledged, batches
from tests.ledger.faults.tracing import MISSING, traced

__all__ = ["lose_power"]

_SECTOR_BYTES = 512
_WAYS = ("nothing", "everything", "a part", "a part", "any part", "any part")
_FOLDER = -1

T = TypeVar("T")


@define
class _File:
    """What the medium holds for certain, and what was done since."""

    certain: bytes = b""
    size: int = 0
    changes: list[Step] = field(factory=list)


@define
class _Name:
    """A name that was made, moved or removed since its folder was synced."""

    path: str
    inode: int | None
    """None where the name is gone."""
    gone: str = ""
    """The name it had before."""


@define
class _Medium:
    """A file system below one folder."""

    files: dict[int, _File] = field(factory=dict)
    names: dict[str, int] = field(factory=dict)
    certain_names: dict[str, int] = field(factory=dict)
    changed_names: list[_Name] = field(factory=list)
    begun: dict[int, int] = field(factory=dict)
    """How many changes each sync under way will make certain."""

    @classmethod
    def of(cls, folder: Path) -> _Medium:
        """All that is below `folder` now, or will be if nothing is."""
        medium = cls(names={str(folder): _FOLDER})
        for path in folder.rglob("*"):
            if path.is_dir():
                medium.names[str(path)] = _FOLDER
            elif path.is_file():
                inode = medium.names[str(path)] = len(medium.files) + 1
                medium.files[inode] = _File(path.read_bytes(), path.stat().st_size)
        medium.certain_names = dict(medium.names)
        return medium

    def play(self, step: Step) -> None:
        inode = self.names.get(step.path, 0)
        match step.call:
            case "open":
                self._open(step, inode)
            case "mkdir":
                self._rename(_Name(step.path, _FOLDER))
            case "rename":
                self._rename(_Name(step.target, inode, gone=step.path))
            case "unlink" | "rmdir":
                self._rename(_Name(step.path, None))
            case "write":
                file = self.files[inode]
                offset = file.size if step.offset is None else step.offset
                file.changes.append(Step(call="write", path=step.path, data=step.data, offset=offset))
                file.size = max(file.size, offset + len(step.data))
            case "truncate":
                self.files[inode].changes.append(step)
                self.files[inode].size = step.size
            case "sync begins" if inode > 0:
                self.begun[step.number] = len(self.files[inode].changes)
            case "sync":
                self._sync(step, inode)
            case _:
                pass

    def after_loss(self, way: str, dice: random.Random) -> tuple[dict[str, bytes | None], bool]:
        """What every path holds after a loss of power, None for a folder, and whether a write is missing before one that is there."""
        names = dict(self.certain_names)
        for change in _kept(self.changed_names, way, dice):
            names.pop(change.gone, None)
            if change.inode is None:
                names.pop(change.path, None)
            else:
                names[change.path] = change.inode
        contents: dict[str, bytes | None] = {}
        has_hole = False
        for path, inode in names.items():
            if inode == _FOLDER:
                contents[path] = None
                continue
            changes = self.files[inode].changes
            kept = _kept(changes, way, dice)
            has_hole = has_hole or [id(each) for each in kept] != [id(each) for each in changes[: len(kept)]]
            contents[path] = _content(self.files[inode].certain, kept, is_torn=way not in {"nothing", "everything"}, dice=dice)
        return contents, has_hole

    def _open(self, step: Step, inode: int) -> None:
        if not inode and step.is_created:
            inode = len(self.files) + 1
            self.files[inode] = _File()
            self._rename(_Name(step.path, inode))
        if step.is_emptied and self.files[inode].size:
            self.play(Step(call="truncate", path=step.path))

    def _rename(self, change: _Name) -> None:
        self.changed_names.append(change)
        if change.gone:
            self.names.pop(change.gone, None)
        if change.inode is None:
            self.names.pop(change.path, None)
        else:
            self.names[change.path] = change.inode

    def _sync(self, step: Step, inode: int) -> None:
        if inode > 0:
            num_certain = self.begun.pop(step.number, 0)
            file = self.files[inode]
            file.certain = _content(file.certain, file.changes[:num_certain])
            del file.changes[:num_certain]
            return
        here = [each for each in self.changed_names if step.path in {str(Path(each.path).parent), str(Path(each.gone).parent)}]
        for change in here:
            self.certain_names.pop(change.gone, None)
            if change.inode is None:
                self.certain_names.pop(change.path, None)
            else:
                self.certain_names[change.path] = change.inode
            self.changed_names.remove(change)


def lose_power(folder: Path, *, num_tries: int | None = None, seed: int = 7) -> Outcome:
    """Record a creation, and three writers with a repair and several rolls; lose power at each step, or at `num_tries` of them."""
    name = "power lost at any step"
    if MISSING:
        return Outcome(fault=name, num_tried=0, skipped=MISSING)
    dice = random.Random(seed)
    with Nursery(folder) as nursery:
        histories = [_creation(nursery, folder / "creation"), _writers(nursery, folder / "writers")]
    matrix = [(history, index, way) for history in histories for index in range(len(history[1]) + 1) for way in _WAYS]
    chosen = sorted(dice.sample(range(len(matrix)), num_tries)) if num_tries is not None else range(len(matrix))
    images = _images([matrix[index] for index in chosen], dice)
    violations, num_holes = [], 0
    for image in images:
        found = _judge(folder / "image", image)
        num_holes += found == ["hole"]
        violations += [f"{image.place}: {each}" for each in found if each != "hole"]
    return Outcome(
        fault=name,
        num_tried=len(chosen),
        violations=tuple(violations),
        note=f"{len(matrix)} images in all, {num_holes} of those tried had a hole and were refused; seed {seed}",
    )


_History = tuple[Path, list[Step], "_Medium"]


@define
class _Image:
    """What is left of a ledger, and what was promised of it."""

    place: str
    ledger: Path
    contents: dict[str, bytes | None]
    said: list[str]
    has_hole: bool


def _creation(nursery: Nursery, folder: Path) -> _History:
    folder.mkdir()
    ledger = folder / "ledger"
    before = _Medium.of(folder)
    with nursery.worker("create", ledger, "a:6", is_gated=True) as worker, traced([worker], folder / "log", *OPTIONS):
        worker.lines()
    return ledger, steps_of(folder / "log", "said-"), before


def _writers(nursery: Nursery, folder: Path) -> _History:
    """An appending, a filing and a signing process, on a ledger with a torn tail."""
    folder.mkdir()
    ledger = folder / "ledger"
    signer = KeyFolder(folder / "keys").create(ORIGIN)
    with create_ledger(ledger, origin=ORIGIN, registry=REGISTRY, settings=SMALL, signer=signer) as store:
        for key, events in batches("before", 4):
            store.append("run/before", events, key=key)
    with sorted((ledger / "seg").iterdir())[-1].open("ab") as segment:
        segment.write(b'{"c":"AAAA')
    before = _Medium.of(folder)
    with ExitStack() as stack:
        tasks = (("append", "a:9"), ("file", "3"), ("sign", "3"))
        workers = [stack.enter_context(nursery.worker(task, ledger, argument, is_gated=True)) for task, argument in tasks]
        stack.enter_context(traced(workers, folder / "log", *OPTIONS))
        for worker in workers:
            worker.lines()
    return ledger, steps_of(folder / "log", "said-"), before


def _images(chosen: list[tuple[_History, int, str]], dice: random.Random) -> Iterator[_Image]:
    """The histories are played once each; `chosen` names their steps in order."""
    played: dict[Path, tuple[int, list[str]]] = {}
    for (ledger, steps, medium), index, way in chosen:
        num_played, said = played.get(ledger, (0, []))
        for step in steps[num_played:index]:
            medium.play(step)
            if step.call == "said":
                said = [*said, *step.data.decode().splitlines()]
        played[ledger] = (index, said)
        contents, has_hole = medium.after_loss(way, dice)
        place = f"{ledger.parent.name}, after step {index} ({steps[index - 1].call if index else 'none'}), {way} of the rest kept"
        yield _Image(place, ledger, contents, said, has_hole)


def _judge(folder: Path, image: _Image) -> list[str]:
    """What is wrong with an image; `hole` if it is refused and may be."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = folder / "ledger"
    for path, content in sorted(image.contents.items()):
        target = folder / Path(path).relative_to(image.ledger.parent)
        if not target.parent.is_dir():
            continue  # its folder is not there
        if content is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(content)
    answers = [each for each in acknowledged(image.said) if each.is_durable]
    if not (copy / "LEDGER.json").exists():
        create_ledger(copy, origin=ORIGIN, registry=REGISTRY).close()
        return ["the whole ledger is gone"] if "created" in image.said or answers else []
    found = list(check_recovery(copy, REGISTRY, answers))
    is_refused = image.has_hole and len(found) == 1 and ".jsonl is damaged at byte" in found[0]
    return ["hole"] if is_refused else found


def _kept(changes: Sequence[T], way: str, dice: random.Random) -> list[T]:
    """Those of `changes` that reached the medium."""
    match way:
        case "nothing":
            return []
        case "everything":
            return list(changes)
        case "a part":
            return list(changes[: dice.randint(0, len(changes))])
        case _:
            return [each for each in changes if dice.random() < 0.5]


def _content(certain: bytes, changes: Sequence[Step], *, is_torn: bool = False, dice: random.Random | None = None) -> bytes:
    """`certain` with `changes`; of a torn last write only the first sectors, with zeros or nothing behind."""
    data = bytearray(certain)
    for index, change in enumerate(changes):
        if change.call == "truncate":
            del data[change.size :]
            data.extend(bytes(change.size - len(data)))
            continue
        assert change.offset is not None
        new = change.data
        if is_torn and dice is not None and index == len(changes) - 1:
            ends = [0, *range(-change.offset % _SECTOR_BYTES or _SECTOR_BYTES, len(new), _SECTOR_BYTES), len(new)]
            kept = new[: dice.choice(ends)]
            new = kept + bytes(len(new) - len(kept)) if dice.random() < 0.5 else kept
        data.extend(bytes(max(change.offset - len(data), 0)))
        data[change.offset : change.offset + len(new)] = new
    return bytes(data)
