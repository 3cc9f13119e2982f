"""What a ledger says of its keys and heads is read from whole batches only, and from what is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.chain import chain_bytes
from ledger.codec import Codec
from ledger.errors import KeyFileError
from ledger.fsck import check_ledger
from ledger.key_rotation import ledger_keys, retire_key, rotate_key
from ledger.layout import Layout
from ledger.lines import build_batch
from ledger.segments import FileStore
from ledger.signed_history import SignedHistory
from ledger.tree_head import Signer
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped, fill
from tests.ledger.signed import SIGNER, open_signed, signed_ledger


def _die_in_a_batch(store: FileStore) -> None:
    """Leave behind what a writer leaves that dies before the last byte of a batch."""
    end = store.end()
    events = [Codec(REGISTRY).encode(Saved(name="x"))] * 50
    batch = build_batch(
        events, position=end.position, chain=chain_bytes(end.chain), stream="run/a", version=0, key=None, time_ms=1, meta=b""
    )
    with (store.path / "seg" / "00000000.jsonl").open("ab") as segment:
        segment.write(batch.data[:-1])


def test_a_batch_that_is_repaired_away_is_not_read(tmp_path: Path) -> None:
    """A handle that looked while a tail was torn knows the keys that are added and retired after its repair."""
    second = Signer.generate(ORIGIN)
    with signed_ledger(tmp_path) as early, open_signed(early.path, write=False) as reader:
        _die_in_a_batch(reader)
        assert len(ledger_keys(early)) == 1
        with open_signed(early.path) as store:
            rotate_key(store, second)
        with open_signed(early.path, signer=second) as store:
            retire_key(store, SIGNER.vkey, "compromised", 1)
            assert ledger_keys(early) == ledger_keys(store)
            store.append("run/a", [Saved(name="y")])
        with pytest.raises(KeyFileError, match=second.key_id):
            early.sign_head()
        assert [each.code for each in check_ledger(early.path).findings if each.severity == "error"] == []


def test_a_key_behind_a_long_batch_is_found(tmp_path: Path) -> None:
    """Batches of any length are read whole, wherever the pieces end in which the segment is read."""
    with signed_ledger(tmp_path) as store:
        for num_bytes in (4_000, 700):
            store.append("run/a", [Stepped(step=1, note="x" * num_bytes)] * 600)
            rotate_key(store, Signer.generate(ORIGIN))
        history = SignedHistory(Layout(store.path), ORIGIN, SIGNER.vkey)
        history.refresh()
        assert (len(history.ring.keys), len(history.heads)) == (3, 4)


def test_records_that_were_dropped_are_forgotten(tmp_path: Path) -> None:
    """Where a repair at the operator's word shortened the ledger, what is there is read from its start."""
    with signed_ledger(tmp_path) as store:
        segment = store.path / "seg" / "00000000.jsonl"
        fill(store, 4)
        num_bytes = segment.stat().st_size
        rotate_key(store, Signer.generate(ORIGIN))
    history = SignedHistory(Layout(store.path), ORIGIN, SIGNER.vkey)
    history.refresh()
    assert len(history.ring.keys) == 2
    with segment.open("r+b") as stream:
        stream.truncate(num_bytes)
    history.refresh()
    assert (history.ring.vkeys, history.heads) == ((SIGNER.vkey,), [])
