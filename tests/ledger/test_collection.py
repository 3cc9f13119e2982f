"""A blob goes when no record needs it, never before."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from ledger.collection import collect_blobs, release_blob
from ledger.errors import BlobMissingError, BlobPinnedError, ReadOnlyLedgerError, WriteError
from ledger.events import BlobsCollected
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.record import BlobRef
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import REGISTRY, Filed, Saved, Stepped, new_ledger, tree_digest

_LATER = 48 * 3600.0


def _collect(store: FileStore, *, dry_run: bool = False) -> tuple[str, ...]:
    """The digests that go two days from now."""
    return collect_blobs(store, dry_run=dry_run, now=time.time() + _LATER).sha256s


def _codes(path: Path) -> list[str]:
    return [finding.code for finding in check_ledger(path, "deep", registry=REGISTRY).findings]


def test_only_blobs_that_no_record_names_go(tmp_path: Path) -> None:
    """What an event names, whole or in a text, stays; the rest goes, and a record says so."""
    with new_ledger(tmp_path) as store:
        named, told, free = (store.blobs.put_bytes(data) for data in (b"named", b"told", b"free"))
        store.append("run/a", [Filed(blobs=(named,)), Saved(name=f"see {told.sha256}.")])
        assert _collect(store) == (free.sha256,)
        assert store.blobs.has(named)
        assert store.blobs.has(told)
        assert not store.blobs.has(free)
        record = list(store.read("ledger"))[-1]
        assert record.event == BlobsCollected(num_blobs=1, num_bytes=4, list=(free.sha256,))
        assert _collect(store) == ()
        assert list(store.read("ledger"))[-1] == record


def test_blobs_that_only_a_spilled_payload_names_stay(tmp_path: Path) -> None:
    """An event too long for a line names blobs all the same; they go once released, and a spill that is gone stops a collection."""
    with new_ledger(tmp_path) as store:
        refs = tuple(store.blobs.put_bytes(b"%d" % number) for number in range(700))
        store.append("run/a", [Filed(blobs=refs)])
        assert _collect(store) == ()
        assert _codes(store.path) == ["spilled_payload"]
        release_blob(store, refs[3], "retention", "ana")
        assert _collect(store) == (refs[3].sha256,)
        assert "blob_missing" not in _codes(store.path)
        store.blobs.path(refs[4]).unlink()
        assert "blob_missing" in _codes(store.path)
        spill = next(path for path in store.blobs.files() if path.stat().st_size > 60_000)
        spill.unlink()
        with pytest.raises(BlobMissingError):
            _collect(store)
        assert store.blobs.has(refs[5])


def test_a_rehearsal_changes_nothing(tmp_path: Path) -> None:
    """With `dry_run` the answer is the same, and every file stays as it is."""
    with new_ledger(tmp_path) as store:
        free = [store.blobs.put_bytes(bytes([number]) * 10) for number in range(3)]
        before = tree_digest(store.path)
        found = collect_blobs(store, dry_run=True, now=time.time() + _LATER)
        assert (found.num_blobs, found.num_bytes, found.is_dry_run) == (3, 30, True)
        assert set(found.sha256s) == {ref.sha256 for ref in free}
        assert tree_digest(store.path) == before


def test_a_young_blob_stays(tmp_path: Path) -> None:
    """A blob whose record may be on its way stays for the time of grace, counted from its last put, also when an old file is moved in."""
    path = tmp_path / "old"
    path.write_bytes(b"old file")
    os.utime(path, (0, 0))
    with new_ledger(tmp_path) as store:
        store.blobs.put_file(path, move=True)
        assert collect_blobs(store, dry_run=False).num_blobs == 0
        assert collect_blobs(store, dry_run=False, now=time.time() + 23 * 3600).num_blobs == 0
        assert collect_blobs(store, dry_run=False, now=time.time() + 25 * 3600).num_blobs == 1


def test_the_time_of_grace_is_a_setting(tmp_path: Path) -> None:
    """It comes from the settings of the store, and an argument goes before it."""
    with new_ledger(tmp_path, LedgerSettings(blob_grace_hours=1)) as store:
        store.blobs.put_bytes(b"free")
        assert collect_blobs(store, dry_run=True, now=time.time() + 3500).num_blobs == 0
        assert collect_blobs(store, dry_run=True, now=time.time() + 3700).num_blobs == 1
        assert collect_blobs(store, dry_run=True, now=time.time() + 3700, grace_hours=2).num_blobs == 0


def test_a_released_blob_goes_unless_it_is_named_again(tmp_path: Path) -> None:
    """A release counts for the records before it alone."""
    with new_ledger(tmp_path) as store:
        first, second = store.blobs.put_bytes(b"first"), store.blobs.put_bytes(b"second")
        store.append("run/a", [Filed(blobs=(first, second))])
        for ref in (first, second):
            assert release_blob(store, ref, "retention", "ann").num_blobs == 0
        store.append("run/a", [Filed(blobs=(second,))])
        assert _collect(store) == (first.sha256,)
        assert _codes(store.path) == ["released_blob"]


def test_an_erased_blob_goes_at_once_and_proofs_stay(tmp_path: Path) -> None:
    """Erasure removes the bytes without a time of grace; lines and chain stay, fsck says released and not missing."""
    with new_ledger(tmp_path) as store:
        ref = store.blobs.put_bytes(b"personal")
        store.append("run/a", [Filed(blobs=(ref,))])
        lines = list(store.lines())
        found = release_blob(store, ref, "erasure", "ann")
        assert (found.num_blobs, found.num_bytes, found.sha256s) == (1, 8, (ref.sha256,))
        assert list(store.lines())[: len(lines)] == lines
        with pytest.raises(BlobMissingError):
            store.append("run/a", [Filed(blobs=(ref,))])
        assert _codes(store.path) == ["released_blob"]
        assert release_blob(store, ref, "erasure", "ann").num_blobs == 0


def test_a_lost_blob_is_not_called_released(tmp_path: Path) -> None:
    """A release of another blob, or a record behind the release, excuses nothing."""
    with new_ledger(tmp_path) as store:
        ref = store.blobs.put_bytes(b"first")
        store.append("run/a", [Filed(blobs=(ref,))])
        release_blob(store, ref, "retention", "ann")
        store.append("run/a", [Filed(blobs=(ref,))])
        store.blobs.path(ref).unlink()
        assert _codes(store.path) == ["blob_missing"]


def test_payloads_and_summaries_always_stay(tmp_path: Path) -> None:
    """A blob that a record cannot be read without is never collected and cannot be released."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=2000)) as store:
        store.append("run/a", [Stepped(step=1, note="x" * 70_000)])
        for number in range(20):
            store.append("run/a", [Stepped(step=number)])
        paths = list(store.blobs.files())
        assert len(paths) > 2
        assert _collect(store) == ()
        for path in paths:
            with pytest.raises(BlobPinnedError, match="always stays"):
                release_blob(store, BlobRef(sha256=path.name, num_bytes=path.stat().st_size), "erasure", "ann")
        assert all(path.exists() for path in paths)


def test_a_payload_that_looks_like_a_release_releases_nothing(tmp_path: Path) -> None:
    """Only the ledger's own records release; texts that quote one do not."""
    with new_ledger(tmp_path) as store:
        ref = store.blobs.put_bytes(b"first")
        store.append("run/a", [Saved(name='"y":"ledger.blob_released/1"'), Filed(blobs=(ref,))])
        store.append("run/a", [Saved(name=f'"y":"ledger.blobs_collected/1" {"ab" * 8}{ref.sha256}')])
        assert _collect(store) == ()


def test_what_a_dead_process_began_to_put_goes(tmp_path: Path) -> None:
    """Unfinished files go after the time of grace, and are no blobs."""
    with new_ledger(tmp_path) as store:
        partial = store.path / "blobs" / "new" / "00ff"
        partial.write_bytes(b"half")
        assert collect_blobs(store, dry_run=False).num_blobs == 0
        assert partial.exists()
        assert _collect(store) == ()
        assert not partial.exists()


def test_a_reader_collects_nothing(tmp_path: Path) -> None:
    """Removing needs a handle that may write, a rehearsal does not."""
    with new_ledger(tmp_path) as store:
        store.blobs.put_bytes(b"free")
    with open_ledger(store.path, registry=REGISTRY, write=False) as reader:
        assert len(_collect(reader, dry_run=True)) == 1
        with pytest.raises(ReadOnlyLedgerError):
            _collect(reader)
        with pytest.raises(ReadOnlyLedgerError):
            release_blob(reader, BlobRef(sha256="0" * 64, num_bytes=1), "erasure", "ann")


def test_collecting_beside_writers_takes_nothing_that_is_named(tmp_path: Path) -> None:
    """Whoever put a blob and appended its record finds it, however often others collect."""
    with new_ledger(tmp_path) as store, open_ledger(store.path, registry=REGISTRY) as other:
        stop = threading.Event()

        def collect() -> None:
            while not stop.is_set():
                collect_blobs(other, dry_run=False, grace_hours=0.02 / 3600)

        thread = threading.Thread(target=collect)
        thread.start()
        kept = []
        for number in range(200):
            with contextlib.suppress(BlobMissingError, WriteError):  # taken before its record: put it again
                ref = store.blobs.put_bytes(b"%d" % (number % 50))
                store.append("run/a", [Filed(blobs=(ref,))])
                kept.append(ref)
        stop.set()
        thread.join()
        assert kept
        for ref in kept:
            with store.blobs.open(ref, verify=True) as stream:
                assert hashlib.sha256(stream.read()).hexdigest() == ref.sha256
    assert "blob_missing" not in _codes(store.path)
