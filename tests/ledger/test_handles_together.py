"""Several handles on one ledger: what one does to the files, to the disk or to the lock is felt by the others."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.disk import Disk
from ledger.errors import CorruptError, PoisonedError, WriteError
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import REGISTRY, Saved, Stepped, fill, new_ledger

_SMALL = LedgerSettings(segment_max_bytes=2_000, metric_sync_seconds=600)


class _Disk(Disk):
    """A disk that tells what was synced, and does something before the next sync."""

    def __init__(self) -> None:
        self.synced: list[int] = []
        """The files by their inode."""
        self.before_sync: Callable[[], None] | None = None

    def sync(self, descriptor: int) -> None:
        act, self.before_sync = self.before_sync, None
        if act is not None:
            act()
        self.synced.append(os.fstat(descriptor).st_ino)
        super().sync(descriptor)


def _fail() -> None:
    raise OSError(errno.EIO, "Input/output error")


def _two(tmp_path: Path, settings: LedgerSettings) -> tuple[FileStore, _Disk, FileStore, _Disk]:
    new_ledger(tmp_path, settings).close()
    first, second = _Disk(), _Disk()
    stores = [open_ledger(tmp_path / "ledger", registry=REGISTRY, settings=settings, disk=disk) for disk in (first, second)]
    return stores[0], first, stores[1], second


def test_a_sync_reaches_the_segment_that_another_process_began(tmp_path: Path) -> None:
    """All that is visible is on the medium afterwards, in whichever file it stands."""
    ours, disk, theirs, _ = _two(tmp_path, _SMALL)
    with ours, theirs:
        ours.append("run/a", [Saved(name="x")])
        while not (second := ours.path / "seg" / "00000001.jsonl").exists():
            theirs.append("run/b", [Stepped(step=1, note="x" * 300)])
        theirs.append("run/b", [Stepped(step=2)])
        disk.synced.clear()
        assert ours.sync().position == theirs.end().position
        assert disk.synced == [second.stat().st_ino]


def test_nothing_is_acknowledged_after_the_sync_of_another_handle_failed(tmp_path: Path) -> None:
    """What it lost may lie before what was synced since: who waits learns it."""
    ours, disk, theirs, their_disk = _two(tmp_path, LedgerSettings())

    def break_theirs() -> None:
        their_disk.before_sync = _fail
        with pytest.raises(PoisonedError):
            theirs.append("run/b", [Saved(name="x")])

    disk.before_sync = break_theirs
    with pytest.raises(PoisonedError, match="that of another process"):
        ours.append("run/a", [Saved(name="x")])
    for store in (ours, theirs):
        with pytest.raises(PoisonedError):
            store.close()


def test_a_sync_that_failed_while_sealing_is_not_tried_again(tmp_path: Path) -> None:
    """The handle says from then on that it does not know what is on the medium."""
    disk = _Disk()
    new_ledger(tmp_path, _SMALL).close()
    store = open_ledger(tmp_path / "ledger", registry=REGISTRY, settings=_SMALL, disk=disk)
    segment = store.path / "seg" / "00000000.jsonl"
    while segment.stat().st_size < _SMALL.segment_max_bytes:
        store.append("run/a", [Stepped(step=1, note="x" * 300)])
    disk.before_sync = _fail
    with pytest.raises(WriteError):
        store.append("run/a", [Stepped(step=2)])
    disk.synced.clear()
    for act in (store.sync, store.close):
        with pytest.raises(PoisonedError):
            act()
    assert disk.synced == []


def test_who_loses_the_lock_file_appends_no_more(tmp_path: Path) -> None:
    """A file that was removed keeps nobody apart, so neither old nor new handles write until a repair."""
    ours, _, theirs, _ = _two(tmp_path, LedgerSettings())
    ours.append("run/a", [Saved(name="x")])
    (ours.path / "lock").unlink()
    before = (ours.path / "seg" / "00000000.jsonl").read_bytes()
    for store in (ours, theirs):
        with pytest.raises(WriteError, match="lock is missing"):
            store.append("run/a", [Stepped(step=1)])
    with pytest.raises(WriteError, match="lock is missing"):
        open_ledger(ours.path, registry=REGISTRY)
    assert (ours.path / "seg" / "00000000.jsonl").read_bytes() == before
    assert check_ledger(ours.path, repair=True).is_ok
    with pytest.raises(WriteError, match="lock is missing"):
        ours.append("run/a", [Saved(name="x")])
    with open_ledger(ours.path, registry=REGISTRY) as again:
        assert again.append("run/a", [Saved(name="x")]).is_durable
    ours.close()
    theirs.close()


def test_damage_found_while_nobody_else_may_write_is_told(tmp_path: Path) -> None:
    """The second look at damage needs the lock that the reader already has; it does not wait for itself."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=2_000)) as store:
        fill(store, 20)
        first = store.path / "seg" / "00000000.jsonl"
        first.chmod(0o644)
        data = bytearray(first.read_bytes())
        data[900] ^= 1
        first.write_bytes(data)
        with store.alone(), pytest.raises(CorruptError):
            list(store.lines())
        assert store.append("run/z", [Saved(name="x")]).is_durable
