"""After a failed sync work goes on only when the disk is shown to hold everything."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from ledger.disk import Disk, boot_id
from ledger.errors import CorruptError, PoisonedError, WriteError
from ledger.fsck import check_ledger
from ledger.layout import Layout
from ledger.mark_repair import repair_mark
from ledger.opening import open_ledger
from ledger.settings import LedgerSettings
from ledger.testing import FixedClock
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, fill, new_ledger


class _Disk(Disk):
    """A disk whose syncs fail on request, or lose what they should keep."""

    def __init__(self) -> None:
        self.is_sync_broken = False
        self.lost: Path | None = None
        self.num_syncs = 0

    def sync(self, descriptor: int) -> None:
        self.num_syncs += 1
        if self.is_sync_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.lost is not None:
            self.lost.write_bytes(self.lost.read_bytes()[:-1])
        super().sync(descriptor)


def _poisoned(tmp_path: Path, settings: LedgerSettings | None = None) -> Path:
    """A ledger in which the sync of the last of several batches failed."""
    new_ledger(tmp_path, settings).close()
    disk = _Disk()
    store = open_ledger(tmp_path / "ledger", registry=REGISTRY, disk=disk, clock=FixedClock(), settings=settings)
    fill(store, 6)
    store.sync()
    disk.is_sync_broken = True
    with pytest.raises(WriteError):
        store.append("run/0", [Saved(name="x")])
    with contextlib.suppress(PoisonedError):
        store.close()
    return store.path


def _codes(path: Path, *, repair: bool = False) -> list[str]:
    return [finding.code for finding in check_ledger(path, repair=repair).findings]


def test_the_mark_says_what_is_surely_on_the_disk(tmp_path: Path) -> None:
    """The offset of the mark is the size that the last good sync saw, not that of what was written since."""
    path = _poisoned(tmp_path)
    segment = path / "seg" / "00000000.jsonl"
    words = (path / "lock").read_text().split()
    assert words[0] == "io-error"
    assert 0 < int(words[1]) < segment.stat().st_size
    assert segment.read_bytes()[int(words[1]) - 1 : int(words[1])] == b"\n"
    assert words[2:] == ["5", words[3], boot_id()]


def test_repair_writes_again_what_may_be_missing_and_takes_the_mark_away(tmp_path: Path) -> None:
    """Not opening, but a repair that was asked for, lets work go on; no byte changes."""
    path = _poisoned(tmp_path)
    before = (path / "seg" / "00000000.jsonl").read_bytes()
    with open_ledger(path, registry=REGISTRY) as store, pytest.raises(PoisonedError):
        store.append("run/0", [Saved(name="y")])
    assert _codes(path) == ["poisoned"]
    assert _codes(path, repair=True) == []
    assert (path / "seg" / "00000000.jsonl").read_bytes() == before
    with open_ledger(path, registry=REGISTRY) as store:
        assert store.append("run/0", [Saved(name="y")]).is_durable


@pytest.mark.parametrize("fault", ["sync", "lost"])
def test_a_disk_that_fails_again_keeps_its_mark(tmp_path: Path, fault: str) -> None:
    """If the second sync fails too, or the disk gives back something else, nobody may append."""
    path = _poisoned(tmp_path)
    disk = _Disk()
    disk.is_sync_broken = fault == "sync"
    disk.lost = path / "seg" / "00000000.jsonl" if fault == "lost" else None
    with pytest.raises(WriteError, match="could not be written" if fault == "sync" else "reads back from the disk unlike"):
        repair_mark(Layout(path), ORIGIN, disk)
    assert disk.num_syncs == 1
    assert "poisoned" in _codes(path)


def test_damage_keeps_the_mark(tmp_path: Path) -> None:
    """A segment that does not verify is not written again; the repair changes nothing."""
    path = _poisoned(tmp_path)
    segment = path / "seg" / "00000000.jsonl"
    data = bytearray(segment.read_bytes())
    data[-80] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CorruptError):
        repair_mark(Layout(path), ORIGIN, Disk())
    assert {"poisoned", "chain_broken"} <= set(_codes(path, repair=True))
    assert segment.read_bytes() == data


def test_a_torn_tail_behind_the_mark_is_repaired_too(tmp_path: Path) -> None:
    """What could not be cut back goes to quarantine once the mark is gone."""
    path = _poisoned(tmp_path)
    with (path / "seg" / "00000000.jsonl").open("ab") as stream:
        stream.write(b'{"c":"AAAA')
    assert _codes(path, repair=True) == ["quarantine_present"]
    assert (path / "lock").read_bytes() == b""


def test_a_failed_sync_of_a_full_segment_stops_every_handle(tmp_path: Path) -> None:
    """Sealing syncs too; a second try could succeed falsely, so there is none, and a repair finishes the roll."""
    path = _poisoned(tmp_path, LedgerSettings(segment_max_bytes=2000))
    assert b"segment_sealed" in (path / "seg" / "00000000.jsonl").read_bytes()
    with open_ledger(path, registry=REGISTRY) as store, pytest.raises(PoisonedError):
        store.append("run/0", [Saved(name="y")])
    assert _codes(path, repair=True) == []
    with open_ledger(path, registry=REGISTRY) as store:
        assert store.append("run/0", [Saved(name="y")]).is_durable
    assert (path / "seg" / "00000001.jsonl").exists()


def test_the_shorter_of_two_marks_is_read_alone(tmp_path: Path) -> None:
    """Two processes may mark at once; what the longer text leaves behind the shorter is not part of it."""
    path = _poisoned(tmp_path)
    mark = (path / "lock").read_text()
    (path / "lock").write_text(f"{mark}7\n")
    with open_ledger(path, registry=REGISTRY) as store, pytest.raises(PoisonedError):
        store.append("run/0", [Saved(name="y")])
    assert _codes(path, repair=True) == []


def test_a_ledger_without_a_mark_is_left_alone(tmp_path: Path) -> None:
    """Without a failed sync there is nothing to do."""
    new_ledger(tmp_path).close()
    disk = _Disk()
    assert not repair_mark(Layout(tmp_path / "ledger"), ORIGIN, disk)
    assert disk.num_syncs == 0
