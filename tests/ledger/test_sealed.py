"""The short ways of reading hand out what the long ones do, and nothing else."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.batches import BatchReader
from ledger.chain import chain_bytes
from ledger.errors import CorruptError
from ledger.layout import Layout
from ledger.opening import open_ledger
from ledger.places import MARK_RECORDS, Places, stands, start_of
from ledger.record import Cursor, Record
from ledger.scanning import Place, complete_batches, scan_batches
from ledger.sealed import SealedSegments
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.store import MemoryStore
from tests.ledger.examples import ORIGIN, REGISTRY, Stepped, fill, new_ledger

_SMALL = LedgerSettings(segment_max_bytes=3_000, read_chunk_bytes=1_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A closed ledger of several segments."""
    with new_ledger(tmp_path, _SMALL) as store:
        fill(store, 30)
    return store.path


def _opened(ledger: Path) -> FileStore:
    return open_ledger(ledger, registry=REGISTRY, settings=_SMALL, write=False)


def _followed(store: FileStore) -> list[Record]:
    """All records by way of a tail, which reads sealed segments by their digest."""
    records: list[Record] = []
    with closing(store.tail(Cursor.genesis(ORIGIN))) as tail:
        while new := tail.read():
            records += new
    return records


def _change(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.chmod(0o644)
    path.write_bytes(data.replace(old, new, 1))


def _vouched(ledger: Path, segment: int, sealed: SealedSegments | None = None, offset: int = 0) -> bool:
    layout = Layout(ledger)
    start = start_of(layout, ORIGIN, segment)
    file = os.open(layout.segment(segment), os.O_RDONLY)
    try:
        return (sealed or SealedSegments(layout)).vouch(file, Place(segment, offset, start.position, start.chain))
    finally:
        os.close(file)


def test_a_sealed_segment_is_vouched_for_and_the_open_one_is_not(ledger: Path) -> None:
    """Only what the next segment names can be verified whole."""
    *sealed, last = Layout(ledger).segment_numbers()
    assert all(_vouched(ledger, segment) for segment in sealed)
    assert not _vouched(ledger, last)


def test_reading_from_the_middle_asks_for_no_digest(ledger: Path) -> None:
    """A reader that begins inside a segment links the rest, unless the segment is known to be whole."""
    sealed = SealedSegments(Layout(ledger))
    assert not _vouched(ledger, 1, sealed, offset=9)
    assert _vouched(ledger, 1, sealed)
    assert _vouched(ledger, 1, sealed, offset=9)


def test_an_altered_segment_is_read_link_by_link(ledger: Path) -> None:
    """Its first bad line is named, also if the handle has found the segment whole before."""
    with _opened(ledger) as store:
        before = _followed(store)
        bad = next(record for record in before if record.position > before[-1].position // 2 and b'"step"' in record.line)
        path = next(path for path in Layout(ledger).segments.iterdir() if bad.line in path.read_bytes())
        _change(path, bad.line, bad.line.replace(b'"step"', b'"stop"'))
        for read in (lambda: list(store.lines()), lambda: _followed(store)):
            with pytest.raises(CorruptError) as caught:
                read()
            assert (caught.value.segment, caught.value.position) == (path.name, bad.position)


def test_a_digest_that_is_no_link_of_the_chain_vouches_for_nothing(ledger: Path) -> None:
    """An altered segment whose new digest was put into the next one's first record is found at its altered line."""
    layout = Layout(ledger)
    with _opened(ledger) as store:
        opened = next(store.scan(names="ledger.segment_opened"))
    name = opened.line.index(b'"sha256":"') + len(b'"sha256":"')
    digest = opened.line[name : name + 64]
    _change(layout.segment(1), digest, digest[::-1])
    assert not _vouched(ledger, 0)
    with _opened(ledger) as store, pytest.raises(CorruptError) as caught:
        _followed(store)
    assert caught.value.position == opened.position


def test_opening_for_reading_verifies_what_it_hands_out(ledger: Path) -> None:
    """A damaged line of the open segment is no reason to refuse what lies before it, and none to pass over it."""
    with _opened(ledger) as store:
        before = list(store.lines())
    path = max(Layout(ledger).segments.iterdir())
    _change(path, before[-1][-20:], before[-1][-20:].upper())
    with _opened(ledger) as store:
        assert list(store.lines(0, 40)) == before[:40]
        for read in (lambda: list(store.lines(0, len(before))), store.end, lambda: list(store.scan()), lambda: store.version("run/0")):
            with pytest.raises(CorruptError) as caught:
                read()
            assert caught.value.position == len(before) - 1


@pytest.mark.parametrize("chunk_bytes", [200, 1_000, 5_000, 100_000])
def test_a_batch_that_is_handed_out_in_parts_is_the_same_batch(tmp_path: Path, chunk_bytes: int) -> None:
    """Sealed segments give the same lines in parts as whole, and places are remembered between batches alone."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=200_000)) as store:
        for number in range(9):
            store.append("run/a", [Stepped(step=number)] * 400)
    layout = Layout(store.path)
    start, places, lines = start_of(layout, ORIGIN, 0), Places(layout, ORIGIN), []
    vouch = SealedSegments(layout).vouch
    with BatchReader(layout, start, chunk_bytes=chunk_bytes, vouch=vouch, whole_batches=False, learn=places.learn) as reader:
        while new := reader.read():
            lines += [line for line, _ in new]
    with open_ledger(store.path, registry=REGISTRY, write=False) as plain:
        assert lines == list(plain.lines())
    marks = places.marks()
    assert [mark.position // MARK_RECORDS for mark in marks] == [0, 1, 2, 3]
    assert all(stands(layout, mark) for mark in marks)


def test_lines_are_those_of_the_records_however_they_are_read(ledger: Path) -> None:
    """Before and after the segments are known to be whole, any part of the ledger has the lines of its records."""
    with _opened(ledger) as store:
        num_records = store.end().position
        parts = [(start, stop) for start in range(0, num_records, 5) for stop in range(start, num_records + 5, 7)]
        linked = [list(store.lines(start, stop)) for start, stop in parts]
        lines = [record.line for record in _followed(store)]
        assert [list(store.lines(start, stop)) for start, stop in parts] == linked == [lines[start:stop] for start, stop in parts]


@given(data=st.data())
def test_the_fast_way_agrees_with_the_careful_one(data: st.DataObject) -> None:
    """Whatever is done to the bytes, the fast scan gives a prefix of the careful one's batches, or nothing."""
    whole, start = _EXAMPLE
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 2)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    fast, careful = complete_batches(bytes(changed), start), scan_batches(bytes(changed), start)
    if fast is not None:
        lines, end = fast
        assert lines == careful.complete[: len(lines)]
        assert end.position == start.position + len(lines)
        assert end.chain == chain_bytes(lines[-1][1].c)
        assert whole[: end.offset] == bytes(changed[: end.offset])
    else:
        assert bytes(changed) != whole


def _example() -> tuple[bytes, Place]:
    """The bytes of twelve batches of one to three lines, and the place they stand at."""
    store = MemoryStore(REGISTRY, origin=ORIGIN)
    fill(store, 12)  # type: ignore[arg-type]  # any store will do
    return b"".join(line + b"\n" for line in store.lines()), Place(0, 0, 0, chain_bytes(Cursor.genesis(ORIGIN).chain))


_EXAMPLE = _example()
