"""Live and held views are one: however a position is reached, it reads the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.run.events import RunStarted
from kd.views.run_summary import run_state_word, summarise
from kd.views.run_view import view_runs
from ledger.record import Cursor
from ledger.segments import FileStore
from ledger.testing import FixedClock
from tests.tui.ledgers import ALPHA, add_steps, make_ledger
from tests.views.examples import START_MS, step
from tui.feed.fold import RUN_VIEWS, AllRuns, OpenRun, Summary
from tui.feed.follow import Follower
from tui.feed.frame import Frame
from tui.feed.keyframes import Keyframes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileStore]:
    """A ledger whose last records came in batches of five."""
    with make_ledger(tmp_path_factory.mktemp("fold") / "ledger", num_steps=30) as made:
        add_steps(made, ALPHA, 31, 60, batch=5)
        yield made


def _shown(frame: Frame) -> dict[str, object]:
    """What a frame shows of the ledger: everything but the live facts."""
    views = {name: getattr(frame, name) for name in RUN_VIEWS}
    facts = {"runs": frame.runs, "owners": frame.owners, "head": frame.head_size, "position": frame.position}
    return views | facts


def _follower(store: FileStore, seen: list[Frame]) -> Follower:
    return Follower(store, FixedClock(START_MS), seen.append, is_writable=False, keyframe_records=7)


def _straight(store: FileStore, stop: int) -> dict[str, object]:
    """The fold of the first `stop` records in one go, with no keyframe."""
    runs, opened = AllRuns(Summary(cursor=Cursor.genesis(store.origin))), OpenRun.from_start(ALPHA)
    records = list(store.scan(stop=stop))
    runs.extend(records)
    opened.extend(records)
    summary = runs.summary()
    facts = {"runs": summary.runs, "owners": summary.owners, "head": summary.head_size, "position": summary.cursor.position - 1}
    return dict(opened.opened().views) | facts


@settings(max_examples=30)
@given(data=st.data())
def test_every_position_reads_the_same_however_it_is_reached(store: FileStore, data: st.DataObject) -> None:
    """After any turns and seeks, forwards and backwards, a held frame is the straight fold of whole batches up to it."""
    seen: list[Frame] = []
    follower = _follower(store, seen)
    follower.open_run(ALPHA)
    while follower.turn():
        pass
    for _ in range(4):
        target = data.draw(st.integers(0, store.end().position - 1))
        follower.seek(target)
        frame = follower.frame()
        assert frame.position <= target < frame.position + 6
        assert _shown(frame) == _straight(store, frame.position + 1)
    follower.seek(None)
    assert follower.frame().is_live
    assert _shown(follower.frame()) == _straight(store, store.end().position)
    follower.close()


def test_a_run_opened_late_reads_as_one_opened_at_the_start(store: FileStore) -> None:
    """Opening a run when the ledger has been folded gives the views that an early opening gives."""
    seen: list[Frame] = []
    follower = _follower(store, seen)
    while follower.turn():
        pass
    assert follower.frame().curves is None
    follower.open_run(ALPHA)
    while follower.turn():
        pass
    assert _shown(follower.frame()) == _straight(store, store.end().position)
    follower.close()


def test_a_position_inside_a_batch_counts_as_the_batch_s_start(store: FileStore) -> None:
    """The third of five records that were appended together is not yet so."""
    follower = _follower(store, [])
    while follower.turn():
        pass
    end = store.end().position
    follower.seek(end - 3)
    assert follower.frame().position == end - 6
    follower.seek(end - 1)
    assert follower.frame().position == end - 1
    follower.close()


def test_the_past_has_the_time_and_the_owners_of_then(store: FileStore) -> None:
    """A held frame's clock is its last record's, and who owned a run is read from claims and releases."""
    follower = _follower(store, [])
    while follower.turn():
        pass
    claim = next(record.position for record in store.scan(names="ledger.owner_claimed"))
    follower.seek(claim)
    held = follower.frame()
    assert (held.owned, held.now_ms) == (frozenset({ALPHA}), START_MS + 1000)
    follower.seek(None)
    assert follower.frame().owned == frozenset()
    follower.close()


def test_keyframes_thin_out_and_never_lie_behind_the_position_asked_for() -> None:
    """However many states are kept, the one given is the last kept at or before a position, and there are at most so many."""
    frames = Keyframes(0, every=1, limit=8)
    for position in range(1, 100):
        if frames.is_due(position):
            frames.keep(position, position)
        assert len(frames) <= 8
        assert all(frames.before(at) <= at for at in range(position))


def test_runs_read_as_the_command_line_reads_them(store: FileStore) -> None:
    """Whatever the chunks, a run's view is that of `kd show`, but for what training remembers of single steps."""
    for chunk in (1, 3, 1000):
        runs = AllRuns(Summary(cursor=Cursor.genesis(store.origin)))
        records = list(store.scan())
        for start in range(0, len(records), chunk):
            runs.extend(records[start : start + chunk])
        for run, plain in view_runs(records).items():
            assert summarise(runs.summary().runs[run], is_owned=False) == summarise(plain, is_owned=False)


def test_a_run_whose_records_cannot_be_is_broken_and_no_other(tmp_path: Path) -> None:
    """A step before training began breaks its run alone, says so wherever it is looked at, and the later records are counted."""
    with make_ledger(tmp_path / "ledger") as store:
        sound = _straight(store, store.end().position)["runs"]
        for event in (step(1, 0)[1], step(2, 0)[1], RunStarted()):
            store.append("run/odd" if isinstance(event, RunStarted) else "run/odd/training", [event])
        add_steps(store, "odd", 3, 9)
        follower = _follower(store, [])
        follower.open_run("odd")
        while follower.turn():
            pass
        frame = follower.frame()
        odd = frame.runs["odd"]
        assert {name: view for name, view in frame.runs.items() if name != "odd"} == sound
        assert run_state_word(odd, is_owned=True) == "broken"
        assert summarise(odd, is_owned=True)["reason"] == odd.problem
        assert (odd.num_records, odd.last_position) == (10, store.end().position - 1)
        assert frame.curves is not None
        assert len(frame.curves.steps or ()) == 9
        assert odd == view_runs(store.scan())["odd"]
        follower.close()
