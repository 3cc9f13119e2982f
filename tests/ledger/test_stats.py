"""Counting what a ledger is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.errors import NotALedgerError
from ledger.opening import create_ledger, open_ledger
from ledger.redaction import Redactor
from ledger.settings import LedgerSettings
from ledger.stats import ledger_stats
from ledger.testing import FixedClock
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped, fill, new_ledger, tree_digest


def test_records_and_bytes_are_counted_by_name_and_segment(tmp_path: Path) -> None:
    """The sums over names and over segments are those of the files."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=2000)) as store:
        fill(store)
        end = store.end()
        segments = sorted((store.path / "seg").iterdir())
        before = tree_digest(store.path)
        stats = ledger_stats(store.path)
        assert tree_digest(store.path) == before
    assert (stats.origin, stats.size, stats.num_streams) == (ORIGIN, end.position, 3)
    assert sum(each.num_records for each in stats.names) == stats.size == sum(each.num_records for each in stats.segments)
    assert [(each.segment, each.num_bytes) for each in stats.segments] == [(path.name, path.stat().st_size) for path in segments]
    assert [each.is_sealed for each in stats.segments] == [True] * (len(segments) - 1) + [False]
    assert stats.num_bytes == sum(each.num_bytes for each in stats.names)
    assert {each.name: each.num_records for each in stats.names}["example.stepped"] == 36
    assert stats.num_blobs == len(segments) - 1
    assert json.loads(json.dumps(stats.to_plain()))["size"] == end.position


def test_what_is_remarkable_is_told(tmp_path: Path) -> None:
    """Long lines, spilled payloads, redactions, repairs, what is in quarantine, and the mark of a failed sync."""
    redactor = Redactor({"KEY": "correct-horse-7"})
    with create_ledger(tmp_path / "ledger", origin=ORIGIN, registry=REGISTRY, redactor=redactor, clock=FixedClock()) as store:
        fill(store, 3)
        long = store.append("run/a", [Stepped(step=1, note="x" * 5000)]).first
        store.append("run/a", [Stepped(step=1, note="x" * 70_000), Saved(name="correct-horse-7, correct-horse-7")])
    with (store.path / "seg" / "00000000.jsonl").open("ab") as stream:
        stream.write(b'{"c":"AAAA')
    open_ledger(store.path, registry=REGISTRY).close()
    (store.path / "lock").write_text("io-error 1 5 1 boot\n")
    stats = ledger_stats(store.path)
    assert (stats.longest[0].position, stats.longest[0].name) == (long, "example.stepped")
    assert [each.num_bytes for each in stats.longest] == sorted((each.num_bytes for each in stats.longest), reverse=True)
    assert stats.num_spilled == 1
    assert stats.num_spilled_bytes > 70_000
    assert (stats.num_redactions, stats.num_repairs, stats.num_quarantined) == (2, 1, 1)
    assert (stats.num_heads, stats.last_head_size) == (0, None)
    assert stats.mark == "io-error 1 5 1 boot"


def test_the_holder_of_the_lock_is_named(tmp_path: Path) -> None:
    """While a process writes it is told which; otherwise nobody."""
    with new_ledger(tmp_path) as store:
        assert ledger_stats(store.path).lock_holder is None
        with store.alone():
            holder = ledger_stats(store.path).lock_holder
    assert holder is None or holder > 0


def test_a_folder_without_a_ledger_has_no_stats(tmp_path: Path) -> None:
    """Counting creates nothing."""
    with pytest.raises(NotALedgerError):
        ledger_stats(tmp_path)
    assert list(tmp_path.iterdir()) == []
