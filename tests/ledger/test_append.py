"""One append: limits, blobs, spilled payloads, and what happens when the disk does not take it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import threading
import warnings
from pathlib import Path
from typing import TextIO

import pytest

from ledger.disk import Disk
from ledger.errors import (
    BatchTooLargeError,
    BlobMissingError,
    DiskFullError,
    EntryTooLargeError,
    PayloadTooLargeError,
    PoisonedError,
    ReadOnlyLedgerError,
    TamperedError,
    UnregisteredEventError,
    WriteError,
)
from ledger.fsck import check_ledger
from ledger.opening import create_ledger, open_ledger
from ledger.record import BlobRef, Meta
from ledger.registry import Durability, Entry, Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped, fill, new_ledger


class _Disk(Disk):
    """A disk that fails on request."""

    def __init__(self) -> None:
        self.num_taken: int | None = None
        """How many bytes the next write takes before the disk is full."""
        self.is_sync_broken = False
        self.is_truncate_broken = False
        self.is_interrupted_after_write = False
        self.num_syncs = 0

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        if self.num_taken is None:
            taken = super().write(descriptor, data)
            if self.is_interrupted_after_write:
                raise KeyboardInterrupt
            return taken
        if self.num_taken == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(descriptor, data[: self.num_taken])
        self.num_taken -= taken
        return taken

    def sync(self, descriptor: int) -> None:
        self.num_syncs += 1
        if self.is_sync_broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(descriptor)

    def truncate(self, descriptor: int, num_bytes: int) -> None:
        if self.is_truncate_broken:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(descriptor, num_bytes)


def _on(disk: Disk, tmp_path: Path) -> FileStore:
    """A ledger with a few records, opened over `disk`."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
    return open_ledger(store.path, registry=REGISTRY, disk=disk)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A batch that does not fit is cut back and refused in one sentence; the handle reads on, and writes when there is space."""
    disk = _Disk()
    store = _on(disk, tmp_path)
    before = list(store.lines())
    for num_taken in (0, 1, 100, 300):
        disk.num_taken = num_taken
        with pytest.raises(DiskFullError) as caught:
            store.append("run/0", [Saved(name="x")] * 3)
        assert str(caught.value) == (
            "A batch of 3 records of stream 'run/0' could not be written because there is no space left "
            "(No space left on device): free some and try again."
        )
        assert list(store.lines()) == before
    disk.num_taken = None
    assert store.append("run/0", [Saved(name="x")]).first == len(before)
    store.close()
    assert check_ledger(store.path, "deep", registry=REGISTRY).is_ok


def test_a_file_size_limit_cuts_back_a_short_write(tmp_path: Path) -> None:
    """Where the system takes a part of a batch and refuses the rest, the part is cut back."""
    store = new_ledger(tmp_path)
    fill(store, 2)
    segment = store.path / "seg" / "00000000.jsonl"
    size = segment.stat().st_size
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, old[1]))
    try:
        with pytest.raises(DiskFullError, match="File too large"):
            store.append("run/0", [Stepped(step=1)] * 3)
        assert segment.stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert store.append("run/0", [Stepped(step=1)] * 3).version == 6
    store.close()


def test_a_failed_sync_stops_every_handle(tmp_path: Path) -> None:
    """After a sync that failed nobody is told again that anything is on the disk, until the machine was restarted."""
    disk = _Disk()
    store = _on(disk, tmp_path)
    other = open_ledger(store.path, registry=REGISTRY)
    disk.is_sync_broken = True
    with pytest.raises(PoisonedError, match="Input/output error"):
        store.append("run/0", [Saved(name="x")])
    disk.is_sync_broken = False
    num_syncs = disk.num_syncs
    with pytest.raises(PoisonedError):
        store.append("run/0", [Saved(name="y")])
    assert disk.num_syncs == num_syncs
    with pytest.raises(PoisonedError, match=r"io-error \d+ 5 \d+"):
        other.append("run/0", [Saved(name="y")])
    assert len(list(other.scan())) == 8
    other.close()
    with pytest.raises(PoisonedError):
        store.close()
    with open_ledger(store.path, registry=REGISTRY) as late:
        assert len(list(late.scan())) == 8
        with pytest.raises(PoisonedError):
            late.append("run/0", [Saved(name="y")])
    assert [finding.code for finding in check_ledger(store.path).findings] == ["poisoned"]


def test_a_mark_from_before_the_last_start_of_the_machine_is_cleared(tmp_path: Path) -> None:
    """What a failed sync lost is lost when the machine was restarted; if the rest verifies, work goes on."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
    (store.path / "lock").write_text("io-error 300 5 1700000000000 an-earlier-boot\n")
    with open_ledger(store.path, registry=REGISTRY) as store:
        assert store.append("run/0", [Saved(name="x")]).is_durable
    assert (store.path / "lock").read_text() == ""


def test_a_batch_that_cannot_be_cut_back_stops_every_handle(tmp_path: Path) -> None:
    """If even cutting back fails, no other writer may append behind the rubbish."""
    disk = _Disk()
    store = _on(disk, tmp_path)
    disk.num_taken, disk.is_truncate_broken = 10, True
    with pytest.raises(DiskFullError):
        store.append("run/0", [Saved(name="x")])
    disk.num_taken, disk.is_truncate_broken = None, False
    with pytest.raises(PoisonedError):
        store.append("run/0", [Saved(name="x")])
    store.close()


def test_an_interrupt_after_the_write_keeps_the_batch(tmp_path: Path) -> None:
    """A batch that is whole in the file stays, and its key finds it."""
    disk = _Disk()
    store = _on(disk, tmp_path)
    disk.is_interrupted_after_write = True
    with pytest.raises(KeyboardInterrupt):
        store.append("run/0", [Saved(name="x"), Saved(name="y")], key="once")
    disk.is_interrupted_after_write = False
    again = store.append("run/0", [Saved(name="x"), Saved(name="y")], key="once")
    assert again.is_duplicate
    assert [r.key for r in store.read("run/0")][-2:] == ["once", None]
    store.close()


def test_foreign_writes_are_noticed(tmp_path: Path) -> None:
    """A segment that is shorter than what was read from it was changed by something other than a writer."""
    store = new_ledger(tmp_path)
    fill(store, 2)
    os.truncate(store.path / "seg" / "00000000.jsonl", 100)
    with pytest.raises(TamperedError, match="cut below what was read"):
        store.append("run/0", [Stepped(step=1)])
    store.close()


def test_metrics_are_synced_soon_and_without_waiting(tmp_path: Path) -> None:
    """A metric is acknowledged once written, and a thread of the handle flushes it."""
    disk = _Disk()
    store = _on(disk, tmp_path)
    num_syncs = disk.num_syncs
    assert not store.append("run/0", [Stepped(step=1)]).is_durable
    assert store.append("run/0", [Stepped(step=1)], durability=Durability.TRANSITION).is_durable
    store.append("run/0", [Stepped(step=1)])
    store.close()
    assert disk.num_syncs >= num_syncs + 2


def test_waiting_threads_share_a_flush(tmp_path: Path) -> None:
    """Who writes while a flush is under way waits for the next one, together with all others."""
    disk = _SlowDisk()
    store = _on(disk, tmp_path)
    disk.num_syncs = 0
    threads = [threading.Thread(target=store.append, args=("run/0", [Saved(name="x")])) for _ in range(disk.num_awaited)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.version("run/0") == 3 + disk.num_awaited
    assert disk.num_syncs <= 3
    store.close()


class _SlowDisk(_Disk):
    """A disk whose flush lasts until a number of writes have been made."""

    num_awaited = 8

    def __init__(self) -> None:
        super().__init__()
        self._num_writes = 0
        self._is_written = threading.Event()

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        self._num_writes += 1
        if self._num_writes == self.num_awaited:
            self._is_written.set()
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        assert self._is_written.wait(30)
        super().sync(descriptor)


def test_limits_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    """Batches, payloads, names, keys and classes that cannot be stored are refused, each in one sentence."""
    with new_ledger(tmp_path) as store:
        end = store.end()
        with pytest.raises(BatchTooLargeError, match="1001 events, expected at most 1000"):
            store.append("run/a", [Stepped(step=1)] * 1001)
        with pytest.raises(PayloadTooLargeError, match="expected at most 16777216"):
            store.append("run/a", [Stepped(step=1, note="x" * 17_000_000)])
        with pytest.raises(UnregisteredEventError, match="dict is not a registered event"):
            store.append("run/a", [{}])
        for stream in ("", "a b", "/a", "a/", "x" * 201, ".a"):
            with pytest.raises(ValueError, match="stream name"):
                store.append(stream, [Stepped(step=1)])
        for key in ("", "a b", "é", "x" * 201):
            with pytest.raises(ValueError, match="key"):
                store.append("run/a", [Stepped(step=1)], key=key)
        with pytest.raises(ValueError, match="at least one event"):
            store.append("run/a", [])
        with pytest.raises(ValueError, match="keeps 'ledger'"):
            store.append("own/r1", [Stepped(step=1)])
        with pytest.raises(ValueError, match="more than 200 bytes"):
            store.append("run/a", [Stepped(step=1)], meta=Meta(actor="é" * 101))
        assert store.end() == end


def test_the_longest_names_leave_room_for_the_largest_payload(tmp_path: Path) -> None:
    """A payload just below the spill limit with the longest names still fits a line, and is stored in it."""
    with new_ledger(tmp_path) as store:
        note = "x" * (61_440 - len(b'{"loss_nats":0.0,"note":"","step":1}'))
        stream, key, actor = "s" * 200, "k" * 200, "a" * 200
        store.append(stream, [Stepped(step=1, note=note)], key=key, meta=Meta(actor=actor))
        record = next(store.read(stream))
        assert 61_440 < len(record.line) < 65_535
        assert "$blob" not in record.line.decode()


def test_a_line_that_would_be_too_long_is_refused(tmp_path: Path) -> None:
    """With a name of absurd length a line does not fit, and nothing is written."""
    registry = Registry([Entry(name="example." + "x" * 5_000, cls=Stepped)])
    with create_ledger(tmp_path / "ledger", origin=ORIGIN, registry=registry) as store:
        with pytest.raises(EntryTooLargeError, match="expected at most 65535"):
            store.append("run/a", [Stepped(step=1, note="x" * 61_000)])
        assert store.end().position == 1


def test_large_payloads_lie_in_blobs(tmp_path: Path) -> None:
    """A payload too large for a line is stored as a blob, and comes back as if it were not."""
    with new_ledger(tmp_path) as store:
        event = Stepped(step=1, note="é" * 40_000)
        store.append("run/a", [event, Stepped(step=2)])
        first, second = store.read("run/a")
        assert (first.event, second.event) == (event, Stepped(step=2))
        assert len(first.line) < 400
        assert b'"e":{"$blob":"' in first.line
    findings = check_ledger(store.path, "deep", registry=REGISTRY).findings
    assert [finding.code for finding in findings] == ["spilled_payload"]


def test_an_event_cannot_name_a_blob_that_is_not_there(tmp_path: Path) -> None:
    """A batch is refused while a blob that it names is missing."""
    with new_ledger(tmp_path) as store:
        here = store.blobs.put_bytes(b"here")
        gone = BlobRef(sha256="0" * 64, num_bytes=4)
        with pytest.raises(BlobMissingError, match="0000 is not in the ledger"):
            store.append("run/a", [Filed(blobs=(here, gone))])
        assert store.append("run/a", [Filed(blobs=(here, here))]).version == 1


def test_a_ledger_opened_for_reading_is_not_written(tmp_path: Path) -> None:
    """A reader follows what others append, and refuses to append itself."""
    with new_ledger(tmp_path) as store, open_ledger(store.path, registry=REGISTRY, write=False) as reader:
        fill(store, 2)
        assert reader.end() == store.end() == reader.sync()
        with pytest.raises(ReadOnlyLedgerError, match="opened for reading"):
            reader.append("run/a", [Stepped(step=1)])


def test_a_full_disk_leaves_no_half_blob(tmp_path: Path) -> None:
    """A blob that does not fit is refused in one sentence and leaves nothing behind."""
    store = new_ledger(tmp_path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, old[1]))
    try:
        with pytest.raises(DiskFullError, match=r"Blob .* of 2000 bytes could not be written because there is no space left"):
            store.blobs.put_bytes(b"x" * 2_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not any(path.is_file() for path in (store.path / "blobs").rglob("*"))
    store.close()


def test_waiting_long_for_the_lock_is_said(tmp_path: Path) -> None:
    """A writer that waits for a stopped one warns who holds the lock, and goes on when it is free."""
    store = new_ledger(tmp_path, LedgerSettings(lock_warn_seconds=0.01))
    texts: list[str] = []
    is_warned = threading.Event()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:
        texts.append(str(message))
        is_warned.set()

    with (store.path / "lock").open("rb") as lock, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=store.append, args=("run/a", [Saved(name="x")]))
        waiting.start()
        assert is_warned.wait(30)
        fcntl.flock(lock, fcntl.LOCK_UN)
        waiting.join()
    assert "lock has been locked by " in texts[0]
    assert store.version("run/a") == 1
    store.close()


async def test_awaited_appends_do_the_same(tmp_path: Path) -> None:
    """`append_async` has the contract of `append`."""
    with new_ledger(tmp_path) as store:
        answer = await store.append_async("run/a", [Saved(name="x")], expected=0, key="k")
        assert answer.is_durable
        assert (await store.append_async("run/a", [Saved(name="x")], expected=0, key="k")).is_duplicate


def test_a_missing_folder_is_said_in_one_sentence(tmp_path: Path) -> None:
    """A ledger that cannot be created says why."""
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(WriteError, match="could not be written"):
        new_ledger(tmp_path)
