"""Each storage call fails in each way, in one process and under strace, and the ledger goes on with all it had promised."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.batches import BatchReader
from ledger.chain import chain_bytes
from ledger.crash_matrix import CrashMatrix, check_recovery
from ledger.disk import Disk, check_size, move_file
from ledger.errors import CorruptError, WriteError
from ledger.fsck import check_ledger
from ledger.layout import Layout
from ledger.opening import open_ledger
from ledger.places import start_of
from ledger.record import Appended, Cursor
from ledger.recovery import judge
from ledger.scanning import Place
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped, fill, new_ledger
from tests.ledger.faults.injection import inject_faults
from tests.ledger.faults.tracing import MISSING


def _work(store: FileStore) -> Iterator[Appended]:
    """Metrics, transitions and a blob, over two segments."""
    for number in range(6):
        yield store.append("run/a", [Stepped(step=number), Stepped(step=number)], key=f"step-{number}")
        yield store.append("run/b", [Saved(name=f"s{number}")], key=f"save-{number}")
    yield store.append("run/b", [Filed(blobs=(store.blobs.put_bytes(b"weights"),))], key="file")


@pytest.fixture
def matrix(tmp_path: Path) -> CrashMatrix:
    return CrashMatrix(tmp_path, REGISTRY, _work, settings=LedgerSettings(segment_max_bytes=1_500))


def test_each_write_and_sync_can_fail_in_each_way(matrix: CrashMatrix) -> None:
    """Whatever a write or a sync does, what was acknowledged is there, and the work can be run again to its end."""
    report = matrix.storage_calls(every=5)
    assert report.is_ok, report.violations
    assert report.num_tried > 15


def test_a_lost_record_is_reported(matrix: CrashMatrix) -> None:
    """The check after a fault notices a promise that was not kept."""
    with open_ledger(matrix.finished(), registry=REGISTRY) as store:
        answer = store.append("run/a", [Saved(name="x")])
    assert check_recovery(matrix.finished(), REGISTRY, [answer]) == ()
    (found,) = check_recovery(matrix.finished(), REGISTRY, [replace(answer, chain="A" * 43 + "=")])
    assert found.endswith("is lost or changed")


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "strace is there")
def test_each_system_call_can_fail_lie_or_be_the_last(tmp_path: Path) -> None:
    """A system call that fails, does nothing or never returns costs no acknowledged record and no consistency."""
    outcome = inject_faults(tmp_path, num_tries=60)
    assert outcome.violations == ()
    assert outcome.num_struck is not None
    assert outcome.num_struck >= 55


class _Cut(Disk):
    """A disk that says it cut a file and did not."""

    def truncate(self, descriptor: int, num_bytes: int) -> None:
        pass


def test_a_cut_that_was_not_made_is_noticed(tmp_path: Path) -> None:
    """Nothing is appended behind a torn tail that is still there."""
    with new_ledger(tmp_path) as store:
        fill(store, 1)
    segment = store.path / "seg" / "00000000.jsonl"
    torn = segment.read_bytes() + b'{"c":"AAAA'
    segment.write_bytes(torn)
    with pytest.raises(WriteError, match="bytes after it was cut to"):
        open_ledger(store.path, registry=REGISTRY, disk=_Cut())
    assert segment.read_bytes() == torn
    with open_ledger(store.path, registry=REGISTRY) as store:
        assert store.version("run/0") == 3


def test_nothing_is_ever_put_behind_a_seal(tmp_path: Path) -> None:
    """A writer that is interrupted right after it sealed a segment goes on in the next one."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=1)) as store:
        file = store._writer.reader._file  # its closing fails, as a close may
        assert file is not None
        os.close(file)
        with pytest.raises(OSError, match="Bad file descriptor"):
            store.append("run/a", [Saved(name="x")])
        assert store.append("run/a", [Saved(name="y")]).version == 1
    assert check_ledger(store.path, "deep", registry=REGISTRY).is_ok


def test_keys_are_read_again_after_a_failure_to_catch_up(tmp_path: Path) -> None:
    """A handle that had to begin anew knows the keys it knew."""
    with new_ledger(tmp_path) as store, open_ledger(store.path, registry=REGISTRY) as other:
        first = store.append("run/a", [Saved(name="x")], key="k")
        (segment,) = (store.path / "seg").iterdir()
        other.append("run/b", [Saved(name="y")])
        data = segment.read_bytes()
        segment.write_bytes(data[:-5] + b"#" + data[-4:])
        with pytest.raises(CorruptError):
            store.append("run/a", [Saved(name="x")], key="k")
        segment.write_bytes(data)
        assert store.append("run/a", [Saved(name="x")], key="k").first == first.first


class _LateLayout(Layout):
    """A folder in which segment 1 and its successor come between two looks."""

    def segment(self, number: int) -> Path:
        if number == 1 and not (self.root / "looked").exists():
            (self.root / "looked").touch()
            return self.root / "not yet"
        return super().segment(number)


def test_two_segments_that_come_at_once_are_no_gap(tmp_path: Path) -> None:
    """A reader that waits for a segment does not miss it, if that one is full before the reader looks for its successor."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=1_000)) as store:
        fill(store, 4)
        start = start_of(Layout(store.path), ORIGIN, 1)
    with BatchReader(_LateLayout(store.path), start, chunk_bytes=1 << 20) as reader:
        assert reader.read()[0][1].q == start.position


def test_whole_batches_are_never_a_torn_tail(tmp_path: Path) -> None:
    """If a read ends too early, what it did not return is not taken for what a dead writer left."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
    start = Place(0, 0, 0, chain_bytes(Cursor.genesis(ORIGIN).chain))
    with pytest.raises(CorruptError, match="whole batches lie where none could be read"):
        judge((store.path / "seg" / "00000000.jsonl").read_bytes(), start)


def test_a_file_of_another_size_than_was_written_is_noticed(tmp_path: Path) -> None:
    """A system that says it wrote more than it did is not believed."""
    (tmp_path / "file").write_bytes(b"abc")
    check_size(tmp_path / "file", 3)
    with pytest.raises(OSError, match="has 3 bytes after 4 were written to it"):
        check_size(tmp_path / "file", 4)


def test_a_rename_that_was_not_made_is_noticed(tmp_path: Path) -> None:
    """Renaming one name of a file to another of its names succeeds and does nothing."""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "other").hardlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="is still there after it was renamed"):
        move_file(tmp_path / "file", tmp_path / "other")
    move_file(tmp_path / "file", tmp_path / "third")
    assert (tmp_path / "third").read_bytes() == b"abc"
