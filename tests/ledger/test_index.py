"""The index makes reading fast and never makes it wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ledger.fsck import check_ledger
from ledger.index import Index, open_index
from ledger.layout import Layout
from ledger.opening import open_ledger
from ledger.places import MARK_RECORDS, stands, start_of
from ledger.projection import project
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Stepped, new_ledger, tree_digest
from tests.ledger.folds import STEPS, change_index, count_rows

_SMALL = LedgerSettings(segment_max_bytes=200_000, snapshot_every_records=1_000)
_NUM_BATCHES = 32
_BATCH = 96


@pytest.fixture(scope="module")
def _original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with new_ledger(tmp_path_factory.mktemp("index"), _SMALL) as store:
        for number in range(_NUM_BATCHES):
            store.append(f"run/{number % 3}", [Stepped(step=number)] * _BATCH)
    with _reader(store.path) as reader, open_index(reader, settings=_SMALL) as index:
        index.update()
        project(reader, STEPS, index=index)
    return store.path


@pytest.fixture
def ledger(_original: Path, tmp_path: Path) -> Path:
    """A closed ledger of some segments with a full index."""
    copy = tmp_path / "ledger"
    shutil.copytree(_original, copy)
    return copy


def _reader(ledger: Path) -> FileStore:
    return open_ledger(ledger, registry=REGISTRY, settings=_SMALL, write=False)


def _stale(ledger: Path) -> list[str]:
    report = check_ledger(ledger, "deep", registry=REGISTRY, projections=[STEPS])
    assert report.is_ok
    return [each.message for each in report.findings if each.code == "index_stale"]


def test_there_is_a_place_about_every_thousand_records(ledger: Path) -> None:
    """Places are found between batches, and a batch begins at each of them that follows from its chain hash."""
    with _reader(ledger) as store, open_index(store) as index:
        for position in range(0, store.end().position, 777):
            place = index.place_before(position)
            assert place is not None
            assert position - MARK_RECORDS - _BATCH < place.position <= position
            assert stands(Layout(ledger), place)


def test_reading_begins_at_a_place_of_the_index(ledger: Path) -> None:
    """Reading one record does not read a segment, as what lies before its place may be damaged unnoticed."""
    with _reader(ledger) as store:
        wanted = next(store.scan(start=2_200, stop=2_201))
    layout = Layout(ledger)
    segment = max(number for number in layout.segment_numbers() if start_of(layout, ORIGIN, number).position <= 2_200)
    path = layout.segment(segment)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[data.index(b'"step"')] ^= 1
    path.write_bytes(data)
    with _reader(ledger) as store, open_index(store):
        assert next(store.scan(start=2_200, stop=2_201)) == wanted


def _replace(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


_SPOILED: dict[str, Callable[[Path], object]] = {
    "no database": lambda ledger: (ledger / "index.sqlite").write_bytes(b"not a database" * 999),
    "empty": lambda ledger: (ledger / "index.sqlite").write_bytes(b""),
    "cut": lambda ledger: os.truncate(ledger / "index.sqlite", 8_192),
    "missing": lambda ledger: (ledger / "index.sqlite").unlink(),
    "name that is no text": lambda ledger: _replace(ledger / "index.sqlite", b"ledgerledger", b"l\xc5dgerledger"),
    "no table": lambda ledger: change_index(ledger, "DROP TABLE place"),
    "other version": lambda ledger: change_index(ledger, "PRAGMA user_version = 9"),
    "other ledger": lambda ledger: change_index(ledger, "UPDATE ledger SET genesis = 'x'"),
    "wrong types": lambda ledger: change_index(ledger, "UPDATE place SET chain = 'x', segment = -1"),
    "wrong offset": lambda ledger: change_index(ledger, "UPDATE place SET offset_bytes = offset_bytes + 1"),
    "wrong chain": lambda ledger: change_index(ledger, "UPDATE place SET chain = zeroblob(32)"),
    "wrong position": lambda ledger: change_index(ledger, "UPDATE place SET position = position + 1"),
    "far offset": lambda ledger: change_index(ledger, "UPDATE place SET offset_bytes = 9223372036854775807"),
    "wrong state": lambda ledger: change_index(ledger, "UPDATE snapshot SET state = CAST('{}' AS BLOB)"),
    "other history": lambda ledger: change_index(ledger, "UPDATE snapshot SET position = position + 1"),
}


@pytest.mark.parametrize("is_writer", [True, False])
@pytest.mark.parametrize("spoiled", _SPOILED)
def test_a_spoiled_index_changes_no_answer(ledger: Path, spoiled: str, is_writer: bool) -> None:
    """Whatever the index says, reading and folding give what they give without it; its writer makes it anew."""
    _SPOILED[spoiled](ledger)
    with _reader(ledger) as store, _reader(ledger) as plain:
        with open_index(store, write=is_writer, settings=_SMALL) as index:
            for position in (0, 1_500, 2_500):
                assert list(store.lines(position, position + 3)) == list(plain.lines(position, position + 3))
                assert project(store, STEPS, at=position, index=index) == project(plain, STEPS, at=position)
            assert project(store, STEPS, index=index) == project(plain, STEPS)
            index.update()
        if is_writer:
            assert (count_rows(ledger, "place") >= 2, count_rows(ledger, "snapshot") > 0) == (True, True)
    assert not is_writer or _stale(ledger) == []


@pytest.mark.parametrize("spoiled", [name for name in _SPOILED if name != "missing"])
def test_an_examination_says_that_an_index_is_stale(ledger: Path, spoiled: str) -> None:
    """A garbled index is a warning, no error, and the examination changes nothing."""
    _SPOILED[spoiled](ledger)
    before = tree_digest(ledger)
    (message,) = _stale(ledger)
    assert message.startswith("index.sqlite ")
    assert tree_digest(ledger) == before


def test_an_examination_of_a_good_index_finds_and_changes_nothing(ledger: Path) -> None:
    """A right index is no finding, and no file appears beside it."""
    before = tree_digest(ledger)
    assert _stale(ledger) == []
    assert tree_digest(ledger) == before


def test_a_state_that_the_records_do_not_lead_to_is_found_by_folding(ledger: Path) -> None:
    """A stored state with a right digest is still held against the fold by the deep examination."""
    with _reader(ledger) as store, open_index(store, settings=_SMALL) as index:
        found = index.snapshot_before("steps", 1, None)
        assert found is not None
        index.keep(type(found)(projection="steps", version=1, cursor=found.cursor, state=b'{"run/0": 1}'))
    assert _stale(ledger) == [f"index.sqlite has a state of steps at position {found.cursor.position} that the records do not lead to."]


def test_one_process_writes_and_others_read(ledger: Path) -> None:
    """The second to open the index reads it, sees what the first stores, and writes nothing; after the first it may write."""
    with _reader(ledger) as store, _reader(ledger) as other:
        first, second = open_index(store), open_index(other)
        assert (first.kind, second.kind) == ("writer", "reader")
        found = second.snapshot_before("steps", 1, None)
        assert found is not None
        newer = type(found)(projection="other", version=1, cursor=found.cursor, state=b"1")
        second.keep(newer)
        assert first.snapshot_before("other", 1, None) is None
        first.keep(newer)
        assert second.snapshot_before("other", 1, None) == newer
        second.close()
        first.close()
        with open_index(other) as third:
            assert third.kind == "writer"


def test_where_nothing_can_be_written_the_index_is_kept_in_memory(tmp_path: Path) -> None:
    """A folder that refuses files gives an index that lasts as long as the process, with the same answers."""
    with new_ledger(tmp_path, _SMALL) as store:
        for number in range(50):
            store.append("run/a", [Stepped(step=number)] * 90)
    (store.path / "own").write_text("a file where a folder should be")
    with _reader(store.path) as reader, open_index(reader, settings=_SMALL) as index:
        assert index.kind == "memory"
        assert project(reader, STEPS, index=index) == project(reader, STEPS)
        assert index.snapshot_before("steps", 1, None) is not None
        index.update()
    assert not (store.path / "index.sqlite").exists()


def test_an_append_never_touches_the_index(ledger: Path) -> None:
    """Appending with an open index works though the file is taken away, and leaves no trace in it."""
    with open_ledger(ledger, registry=REGISTRY, settings=_SMALL) as store:
        index = open_index(store)
        for path in ledger.glob("index.sqlite*"):
            path.unlink()
        for number in range(30):
            store.append("run/a", [Stepped(step=number)] * 90, key=f"k{number}")
        assert store.version("run/a") == 2_700
        assert list(ledger.glob("index.sqlite*")) == []
        store.use_places(None)
        index.close()


def test_the_index_grows_with_the_ledger(ledger: Path) -> None:
    """An update reads what has come since the last one; the place at the very end waits for a record to prove it."""
    before = count_rows(ledger, "place")
    with open_ledger(ledger, registry=REGISTRY, settings=_SMALL) as store, open_index(store) as index:
        for number in range(20):
            store.append("run/a", [Stepped(step=number)] * 100)
        index.update()
        end = store.end().position
    with closing(sqlite3.connect(ledger / "index.sqlite")) as connection:
        positions = [row[0] for row in connection.execute("SELECT position FROM place ORDER BY position")]
    assert len(positions) in (before + 2, before + 3)
    assert max(positions) < end
    assert _stale(ledger) == []


def test_a_forked_child_lets_go_of_the_index(ledger: Path) -> None:
    """A child holds no lock of its parent's and gets no answers; the parent goes on writing."""
    with _reader(ledger) as store, open_index(store) as index:
        child = os.fork()
        if child == 0:
            os._exit(0 if index.kind == "closed" and index.place_before(1) is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert index.kind == "writer"
        assert index.place_before(1) is not None


def test_closing_twice_is_no_error(ledger: Path) -> None:
    """A closed index answers nothing."""
    with _reader(ledger) as store:
        index: Index = open_index(store)
        index.close()
        index.close()
        assert (index.kind, index.place_before(9)) == ("closed", None)
