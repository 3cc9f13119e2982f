"""Following sees every record once and in order, however it is woken."""

from __future__ import annotations

import fcntl
import os
import resource
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import TamperedError
from ledger.follow import follow
from ledger.opening import open_ledger
from ledger.record import Cursor
from ledger.settings import LedgerSettings
from ledger.store import MemoryStore
from ledger.tail import FileTail
from ledger.watch import PollWatch, watch_folder
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped, fill, new_ledger


def test_any_cursor_is_a_place_to_start(tmp_path: Path) -> None:
    """A tail begins behind any record, also inside a batch, and refuses a cursor of another history."""
    with new_ledger(tmp_path) as store:
        fill(store, 4)
        records = list(store.scan())
        for index, record in enumerate(records):
            with closing(store.tail(record.cursor)) as tail:
                assert tail.read() == records[index + 1 :]
        for cursor in (
            Cursor(position=3, chain=records[5].chain),
            Cursor(position=99, chain=records[5].chain),
            Cursor.genesis("other.invalid"),
        ):
            with pytest.raises(TamperedError, match="is no place of this"):
                store.tail(cursor)


def test_globs_choose_before_decoding(tmp_path: Path) -> None:
    """Only records whose stream and name match are decoded and handed out."""
    with new_ledger(tmp_path) as store:
        fill(store, 4)
        store.append("run/0/training", [Saved(name="x")])
        after = Cursor.genesis(ORIGIN)
        chosen = list(follow(store, after=after, streams="run/0*", names="*.saved", stop=lambda: True))
        assert [record.event for record in chosen] == [Saved(name="x")]
        assert [r.stream for r in follow(store, after=after, streams="ledger", stop=lambda: True)] == ["ledger"]


def test_an_unfinished_batch_is_not_seen(tmp_path: Path) -> None:
    """A batch becomes visible when its last line is written, not before."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
        end = store.end()
        data = (store.path / "seg" / "00000000.jsonl").read_bytes()
        store.append("run/0", [Stepped(step=1)] * 3)
        whole = (store.path / "seg" / "00000000.jsonl").read_bytes()
    segment = store.path / "seg" / "00000000.jsonl"
    segment.write_bytes(data)
    with open_ledger(store.path, registry=REGISTRY, write=False) as reader, closing(reader.tail(end)) as tail:
        for cut in range(len(data), len(whole), 50):
            segment.write_bytes(whole[:cut])
            assert tail.read() == []
        segment.write_bytes(whole)
        assert len(tail.read()) == 3


def test_a_file_that_became_shorter_is_tampering(tmp_path: Path) -> None:
    """What was read once cannot vanish."""
    with new_ledger(tmp_path) as store:
        fill(store, 2)
    with open_ledger(store.path, registry=REGISTRY, write=False) as reader, closing(reader.tail(reader.end())) as tail:
        segment = store.path / "seg" / "00000000.jsonl"
        segment.write_bytes(segment.read_bytes()[:300])
        with pytest.raises(TamperedError, match="300 bytes"):
            tail.read()


def test_without_a_kernel_watch_it_looks_often(tmp_path: Path) -> None:
    """Where the system wakes nobody, following polls and gives the same records."""
    with new_ledger(tmp_path, LedgerSettings(follow_poll_seconds=0.001)) as store:
        fill(store, 2)
        tail = store.tail(Cursor.genesis(ORIGIN))
        assert isinstance(tail, FileTail)
        tail.use_watch(PollWatch(0.001))
        assert tail.wakeup_fileno() is None
        assert tail.check_seconds == 0.001
        assert tail.read() == list(store.scan())
        tail.close()


def test_a_descriptor_of_any_number_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have more than a thousand files open when it begins to follow."""
    store = MemoryStore(REGISTRY)
    store.append("run/a", [Stepped(step=1)])
    tail = store.tail(store.end())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2_000), limits[1]))
    far = fcntl.fcntl(tail.wakeup_fileno() or 0, fcntl.F_DUPFD, 1_500)
    monkeypatch.setattr(tail, "wakeup_fileno", lambda: far)
    monkeypatch.setattr(tail, "check_seconds", 0.0)
    monkeypatch.setattr(store, "tail", lambda *_, **__: tail)
    answers = iter((False, True))
    try:
        assert list(follow(store, after=store.end(), stop=lambda: next(answers))) == []
    finally:
        os.close(far)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_kernel_says_when_there_is_more(tmp_path: Path) -> None:
    """The watch becomes readable when a segment grows, and is quiet after it was read."""
    with new_ledger(tmp_path) as store, closing(store.tail(store.end())) as tail:
        watch = watch_folder(store.path / "seg", check_seconds=0.1, poll_seconds=0.005)
        assert (watch.fileno() is None) == isinstance(watch, PollWatch)
        watch.close()
        assert tail.read() == []
        store.append("run/0", [Stepped(step=1)])
        assert [record.event for record in tail.read()] == [Stepped(step=1)]
