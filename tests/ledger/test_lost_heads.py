"""A signed head that is lost can be signed again, as the records tell of it, and keeps nobody from reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import HeadConflictError, TamperedError
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.tree_head import open_note
from tests.ledger.examples import REGISTRY, fill
from tests.ledger.signed import SIGNER, forge, open_signed, signed_ledger


@pytest.mark.parametrize("left", [None, b"\xffgarbled", "old"])
def test_a_note_that_is_lost_is_signed_again(tmp_path: Path, left: bytes | str | None) -> None:
    """A note that is gone, garbled or an old one is made anew from the head that the records tell of, without another record."""
    with signed_ledger(tmp_path) as store:
        old = store.sign_head()
        fill(store)
        store.sign_head()
        head, end, path = store.tree_head(), store.end(), store.path / "tree_head"
        path.unlink()
        if left is not None:
            path.write_bytes(left if isinstance(left, bytes) else str(old).encode())
        found = next(each for each in check_ledger(store.path).findings if each.severity == "error")
        assert "sign anew" in found.action
        note = store.sign_head()
        assert note is not None
        assert (open_note(note, [SIGNER.vkey]), path.read_text(), store.end()) == (head, note, end)
        assert store.sign_head() is None
    assert check_ledger(store.path).findings == ()


def test_a_lost_note_is_not_signed_again_over_changed_records(tmp_path: Path) -> None:
    """Records that do not have the root that they tell of are not signed, even where the tiles still have it."""
    with signed_ledger(tmp_path) as store:
        fill(store)
        store.sign_head()
    forge(store.path, 7)
    (store.path / "tree_head").unlink()
    with open_signed(store.path) as store, pytest.raises(HeadConflictError, match="do not have the root"):
        store.sign_head()
    assert not (store.path / "tree_head").exists()


def test_a_head_that_cannot_be_read_does_not_open_for_writing(tmp_path: Path) -> None:
    """A garbled note is an integrity violation, not the absence of one; what is there can still be read."""
    with signed_ledger(tmp_path) as store:
        store.sign_head()
    (store.path / "tree_head").write_bytes(b"\xffgarbage")
    with pytest.raises(TamperedError, match="tree_head"):
        open_ledger(store.path, registry=REGISTRY)
    with open_ledger(store.path, registry=REGISTRY, write=False) as reader:
        assert len(list(reader.scan())) == reader.end().position
