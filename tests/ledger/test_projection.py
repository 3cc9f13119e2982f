"""A projection is a pure fold: from the start, from a stored state, in a file or in memory, the state is the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve as replace
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UnknownEventError
from ledger.index import open_index
from ledger.opening import open_ledger
from ledger.projection import Projection, Projector, project
from ledger.record import Cursor, Record
from ledger.registry import Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.store import MemoryStore
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped, fill, new_ledger
from tests.ledger.folds import STEPS, Steps

_SMALL = LedgerSettings(segment_max_bytes=20_000, read_chunk_bytes=2_000, snapshot_every_records=20)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of several segments, with an index that holds states of `STEPS`."""
    with new_ledger(tmp_path_factory.mktemp("projection"), _SMALL) as store:
        fill(store, 100)
        store.append("run/0", [Saved(name="x")])
        with open_index(store, settings=_SMALL) as index:
            project(store, STEPS, index=index)
    return store.path


def _opened(ledger: Path) -> FileStore:
    return open_ledger(ledger, registry=REGISTRY, settings=_SMALL, write=False)


def _model(store: FileStore, at: int) -> Steps:
    """The fold in its plainest form."""
    sums: Steps = {}
    for record in store.scan():
        if record.position - record.batch_index + record.batch_size <= at and isinstance(record.event, Stepped):
            sums[record.stream] = sums.get(record.stream, 0) + record.event.step
    return sums


@given(data=st.data())
def test_replay_to_a_position_is_the_fold_up_to_there(ledger: Path, data: st.DataObject) -> None:
    """At every position, with an index and without, the state is that of the whole batches up to it."""
    with _opened(ledger) as store, open_index(store, write=False, settings=_SMALL) as index:
        at = data.draw(st.integers(0, store.end().position + 2))
        assert project(store, STEPS, at=at) == project(store, STEPS, at=at, index=index) == _model(store, at)


def test_a_stored_state_spares_folding_what_lies_before_it(ledger: Path) -> None:
    """With an index only the records behind the last stored state are folded."""
    seen: list[int] = []

    def apply(state: Steps, record: Record) -> Steps:
        seen.append(record.position)
        return STEPS.apply(state, record)

    with _opened(ledger) as store, open_index(store, write=False) as index:
        counted = replace(STEPS, apply=apply)
        whole = project(store, counted)
        num_all = len(seen)
        assert project(store, counted, index=index) == whole
        assert 0 < len(seen) - num_all <= 60 < num_all


def test_another_version_folds_anew(ledger: Path) -> None:
    """A state that was stored under another version of the projection is not used."""
    twice = replace(STEPS, version=2, apply=lambda state, record: STEPS.apply(STEPS.apply(state, record), record))
    with _opened(ledger) as store, open_index(store, write=False) as index:
        assert project(store, twice, index=index) == {stream: 2 * sum_ for stream, sum_ in project(store, STEPS).items()}


def test_a_state_that_cannot_be_loaded_is_folded_again(ledger: Path) -> None:
    """A stored state is only a shortcut: if loading it fails, all records are folded."""

    def refuse(state: bytes) -> Steps:
        raise KeyError(state)

    with _opened(ledger) as store, open_index(store, write=False) as index:
        assert project(store, replace(STEPS, load=refuse), index=index) == project(store, STEPS)


def test_a_projector_keeps_in_step(tmp_path: Path) -> None:
    """Advancing folds what has come, whoever wrote it, and says where it stands."""
    with new_ledger(tmp_path) as store, _opened(store.path) as reader, closing(Projector(reader, STEPS)) as projector:
        assert projector.advance() == {}
        for number in range(1, 4):
            store.append("run/a", [Stepped(step=number), Stepped(step=number)])
            assert projector.advance() == {"run/a": number * (number + 1)}
            assert projector.cursor == store.end()
        store.append("run/a", [Saved(name="x")])
        projector.advance()
        assert projector.cursor == store.end()


def test_a_projector_goes_on_after_an_error(tmp_path: Path) -> None:
    """If folding fails, the state stays that of the last good place, and nothing is left out afterwards."""
    is_broken = True

    def apply(state: Steps, record: Record) -> Steps:
        if is_broken:
            raise RuntimeError
        return STEPS.apply(state, record)

    with new_ledger(tmp_path) as store, closing(Projector(store, replace(STEPS, apply=apply))) as projector:
        store.append("run/a", [Stepped(step=1)])
        with pytest.raises(RuntimeError):
            projector.advance()
        assert (projector.state, projector.cursor) == ({}, Cursor.genesis(ORIGIN))
        is_broken = False
        assert projector.advance() == {"run/a": 1}


def test_an_unknown_event_stops_a_fold(tmp_path: Path) -> None:
    """The state behind an event that this program does not know cannot be known either."""
    with new_ledger(tmp_path) as store:
        store.append("run/a", [Stepped(step=1)])
    everything: Projection[int] = Projection(
        name="count", version=1, initial=0, apply=lambda n, _: n + 1, dump=lambda n: b"%d" % n, load=int
    )
    with open_ledger(store.path, registry=Registry(()), write=False) as reader, pytest.raises(UnknownEventError, match="stepped"):
        project(reader, everything)


def test_every_store_gives_the_same_state(tmp_path: Path) -> None:
    """A projection knows nothing of where the records are kept."""
    memory = MemoryStore(REGISTRY, origin=ORIGIN)
    with new_ledger(tmp_path) as store:
        for each in (store, memory):
            for number in range(20):
                each.append(f"run/{number % 3}", [Stepped(step=number)])
        assert project(store, STEPS) == project(memory, STEPS)
        assert project(store, STEPS, at=9) == project(memory, STEPS, at=9)
