"""A run has one owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import AlreadyOwnedError
from ledger.events import OwnerClaimed, OwnerReleased
from ledger.ownership import claim, is_owned, wait_for_death
from tests.ledger.examples import new_ledger


def test_a_run_is_owned_once_at_a_time(tmp_path: Path) -> None:
    """A second claim fails while the first lasts, in the same process too, and fences rise."""
    with new_ledger(tmp_path) as store:
        assert not is_owned(store.path, "r1")
        with claim(store, "r1", "ann") as first:
            assert is_owned(store.path, "r1")
            with pytest.raises(AlreadyOwnedError, match=r"Run 'r1' is owned by .*: wait until it ends, or stop it, and try again\."):
                claim(store, "r1", "bob")
            with claim(store, "r2", "bob") as other:
                assert other.fence == 1
        assert wait_for_death(store.path, "r1", 0)
        with claim(store, "r1", "bob") as second:
            assert (first.fence, second.fence) == (1, 3)
        second.release()


def test_claims_and_releases_are_records(tmp_path: Path) -> None:
    """Who owned a run, on which machine, in which process, can be read afterwards."""
    with new_ledger(tmp_path) as store:
        with claim(store, "r1", "ann"):
            pass
        claimed, released = (record.event for record in store.read("own/r1"))
        assert isinstance(claimed, OwnerClaimed)
        assert (claimed.run, claimed.actor) == ("r1", "ann")
        assert released == OwnerReleased(run="r1", fence=1)


def test_a_run_needs_a_plain_name(tmp_path: Path) -> None:
    """A name that could leave the folder of locks is refused."""
    with new_ledger(tmp_path) as store, pytest.raises(ValueError, match="is not named by"):
        claim(store, "../r1", "ann")


@pytest.mark.parametrize("run", ["index", "tree"])
def test_a_run_cannot_be_called_what_the_ledger_locks_itself(tmp_path: Path, run: str) -> None:
    """The locks of the index and of the tree lie beside those of the runs."""
    with new_ledger(tmp_path) as store, pytest.raises(ValueError, match="choose another"):
        claim(store, run, "ann")
