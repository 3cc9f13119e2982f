"""A finished ledger is cut, altered and put back: a crash is repaired, anything else is refused or found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.chain import chain_bytes, head, link
from ledger.crash_matrix import CrashMatrix
from ledger.errors import PayloadError
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.record import Appended, Cursor
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped, fill, new_ledger
from tests.ledger.faults.disposable import garble_index, garble_summaries, garble_tiles, restore_old_backup


def _work(store: FileStore) -> Iterator[Appended]:
    for number in range(5):
        yield store.append("run/a", [Stepped(step=number), Stepped(step=number), Saved(name="x")], key=f"k{number}")
    yield store.append("run/b", [Filed(blobs=(store.blobs.put_bytes(b"weights"),))], key="file")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> CrashMatrix:
    return CrashMatrix(tmp_path_factory.mktemp("damage"), REGISTRY, _work, settings=LedgerSettings(segment_max_bytes=2_000))


def test_a_cut_at_any_byte_leaves_whole_batches(matrix: CrashMatrix) -> None:
    """Every cut of the open segment is repaired, with what was behind the last whole batch in quarantine."""
    report = matrix.cuts(every=11)
    assert report.violations == ()


def test_a_flipped_bit_in_any_file_is_seen(matrix: CrashMatrix) -> None:
    """An altered bit of identity, segments or blobs is refused or found, and nothing is changed by that."""
    report = matrix.flips(every=67)
    assert report.violations == ()


def test_a_line_that_was_moved_is_seen(matrix: CrashMatrix) -> None:
    """A line that was taken out, repeated or exchanged with the next one is refused or found, in every segment."""
    report = matrix.moved_lines()
    assert report.violations == ()


def test_bytes_that_are_no_text_are_named_and_not_read(tmp_path: Path) -> None:
    """A payload that is not UTF-8 is an error of the record, also where a forger made all chain hashes anew."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
    segment, chain, out = store.path / "seg" / "00000000.jsonl", chain_bytes(Cursor.genesis(ORIGIN).chain), b""
    for line in segment.read_bytes().splitlines():
        tail = line[51:].replace(b'"note":""', b'"note":"\xab"')
        chain = link(chain, tail)
        out += head(chain) + tail + b"\n"
    segment.write_bytes(out)
    codes = {finding.code for finding in check_ledger(store.path, "deep", registry=REGISTRY).findings}
    assert {"line_damaged", "undecodable_event"} <= codes
    with open_ledger(store.path, registry=REGISTRY) as store, pytest.raises(PayloadError, match="can't decode byte"):
        list(store.scan())


def test_a_garbled_summary_changes_no_answer(tmp_path: Path) -> None:
    """What summaries say is read from the segments where they are gone or damaged."""
    assert garble_summaries(tmp_path, num_tries=15).violations == ()


def test_a_garbled_index_changes_no_state(tmp_path: Path) -> None:
    """A fold with a damaged index gives the state that a fold without one gives."""
    assert garble_index(tmp_path, num_tries=12).violations == ()


def test_a_garbled_tile_changes_no_proof(tmp_path: Path) -> None:
    """Tiles that are damaged or gone are made again from the records."""
    assert garble_tiles(tmp_path, num_tries=5).violations == ()


def test_an_old_backup_does_not_pass_for_the_ledger(tmp_path: Path) -> None:
    """Put back to any earlier batch, a ledger verifies; whoever kept a later cursor is told all the same."""
    assert restore_old_backup(tmp_path).violations == ()
