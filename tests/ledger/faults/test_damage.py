"""A finished ledger is cut, altered and put back: a crash is repaired, anything else is refused or found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.crash_matrix import CrashMatrix
from ledger.record import Appended
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import REGISTRY, Filed, Saved, Stepped
from tests.ledger.faults.disposable import garble_summaries, restore_old_backup


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


def test_a_garbled_summary_changes_no_answer(tmp_path: Path) -> None:
    """What summaries say is read from the segments where they are gone or damaged."""
    assert garble_summaries(tmp_path, num_tries=15).violations == ()


def test_an_old_backup_does_not_pass_for_the_ledger(tmp_path: Path) -> None:
    """Put back to any earlier batch, a ledger verifies; whoever kept a later cursor is told all the same."""
    assert restore_old_backup(tmp_path).violations == ()
