"""What processes and the system around them do: stop, fork, race, set the clock, fill the disk, forbid to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.faults import processes, races


def test_a_writer_stopped_under_the_lock_holds_up_the_others_and_no_more(tmp_path: Path) -> None:
    """Those who wait say for whom; when it goes on, or is killed, they all go on."""
    outcome = processes.stop_under_lock(tmp_path, num_waiting=4)
    assert outcome.violations == ()


def test_a_fork_in_the_middle_of_appends_harms_nobody(tmp_path: Path) -> None:
    """Every child is refused, and the parent's threads lose nothing."""
    assert processes.fork(tmp_path, num_rounds=25).violations == ()


def test_a_dead_owner_beside_its_living_worker_owns_nothing(tmp_path: Path) -> None:
    """A forked worker does not keep the run of a killed owner."""
    assert processes.kill_owners(tmp_path, num_rounds=5).violations == ()


def test_the_clock_has_no_say_in_the_order(tmp_path: Path) -> None:
    """A clock that goes back a day at each append gives the same order and the same fold."""
    assert processes.set_clock_back(tmp_path).violations == ()


def test_a_folder_that_may_not_be_written_to_can_be_read(tmp_path: Path) -> None:
    """Reading and examining work there; every write is refused in one sentence."""
    outcome = processes.forbid_writing(tmp_path)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.violations == ()


def test_a_batch_that_does_not_fit_is_cut_back(tmp_path: Path) -> None:
    """However many bytes of it the system takes, nothing of it stays, and the same handle appends it when there is room."""
    assert processes.fill_disk(tmp_path, every=23).violations == ()


def test_after_a_failed_sync_nobody_is_promised_anything(tmp_path: Path) -> None:
    """Whichever sync fails, no handle acknowledges anything more until the machine was restarted."""
    assert processes.break_syncs(tmp_path, num_syncs=4).violations == ()


def test_of_two_creators_one_creates(tmp_path: Path) -> None:
    """The other is told that there is a ledger."""
    assert races.race_creators(tmp_path, num_rounds=20).violations == ()


def test_of_two_claimers_one_owns_at_a_time(tmp_path: Path) -> None:
    """And every later owner has a higher fence."""
    assert races.race_claimers(tmp_path, num_rounds=20).violations == ()


def test_a_reader_beside_repairs_sees_no_damage(tmp_path: Path) -> None:
    """It sees every record once, however often the file is cut back under it."""
    assert races.race_reader(tmp_path, num_rounds=25).violations == ()


def test_a_collection_beside_puts_takes_nothing_that_is_named(tmp_path: Path) -> None:
    """An append names only blobs that are there, and stay."""
    assert races.race_collection(tmp_path, num_rounds=100).violations == ()


def test_no_answer_comes_before_its_sync(tmp_path: Path) -> None:
    """Also while segments are sealed and begun between the write and the sync."""
    assert races.race_rolls(tmp_path, num_rounds=100).violations == ()
