"""Segments fill, are sealed, and the next one begins with what they hold."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path

import pytest

from ledger.chain import verify_lines
from ledger.errors import CorruptError, FormatVersionError, LedgerExistsError, NotALedgerError, TamperedError, WriteError
from ledger.events import SegmentOpened, SegmentSealed
from ledger.fsck import check_ledger
from ledger.opening import create_ledger, open_ledger
from ledger.record import Cursor
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Saved, Stepped, fill, new_ledger

_SMALL = LedgerSettings(segment_max_bytes=3_000)


def _rolled(tmp_path: Path) -> FileStore:
    """A ledger of several segments."""
    store = new_ledger(tmp_path, _SMALL)
    fill(store, 30)
    assert len(list((store.path / "seg").iterdir())) >= 4
    return store


def _segments(ledger: Path) -> list[Path]:
    return sorted((ledger / "seg").iterdir())


def test_a_full_segment_is_sealed_and_named_by_the_next(tmp_path: Path) -> None:
    """A segment ends with its seal, is read-only, and the next one's first record has its size and digests."""
    with _rolled(tmp_path) as store:
        opened = [record for record in store.scan() if isinstance(record.event, SegmentOpened)]
        sealed = [record for record in store.scan() if isinstance(record.event, SegmentSealed)]
        assert [record.position for record in opened] == [record.position + 1 for record in sealed]
        for path, seal, record in zip(_segments(store.path), sealed, opened, strict=False):
            data, event = path.read_bytes(), record.event
            assert isinstance(event, SegmentOpened)
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
            assert data.endswith(seal.line + b"\n")
            assert event.previous.sha256 == hashlib.sha256(data).hexdigest()
            assert (event.previous.num_bytes, event.previous.num_records) == (len(data), data.count(b"\n"))
            assert event.previous.chain == seal.chain


def test_the_summary_says_where_every_stream_stands(tmp_path: Path) -> None:
    """The summary of the segments before is a function of their lines alone."""
    with _rolled(tmp_path) as store:
        record = [record for record in store.scan() if isinstance(record.event, SegmentOpened)][-1]
        assert isinstance(record.event, SegmentOpened)
        with store.blobs.open(record.event.summary, verify=True) as stream:
            summary = json.loads(stream.read())
        before = list(store.scan(stop=record.position))
    assert (summary["position"], summary["chain"]) == (record.position, before[-1].chain)
    versions = {stream: each["version"] for stream, each in summary["streams"].items()}
    assert versions == {stream: sum(r.stream == stream for r in before) for stream in {r.stream for r in before}}


def test_all_segments_are_one_ledger(tmp_path: Path) -> None:
    """Reading, keys, versions and the chain go across segments, also after reopening."""
    with _rolled(tmp_path) as store:
        lines, end = list(store.lines()), store.end()
    assert verify_lines(lines, after=Cursor.genesis(ORIGIN)) == end
    with open_ledger(store.path, registry=REGISTRY, settings=_SMALL) as store:
        assert list(store.lines()) == lines
        assert store.version("run/0") == 45
        for start in range(0, end.position, 9):
            assert [record.position for record in store.scan(start=start, stop=start + 5)] == list(
                range(start, min(start + 5, end.position))
            )
        assert [record.version for record in store.read("run/1", start=20)] == list(range(20, 45))
        assert store.append("run/0", [Stepped(step=0)] * 3, key="k0").is_duplicate
        assert store.append("run/0", [Stepped(step=0)] * 3, expected=45).version == 48
    assert check_ledger(store.path, "deep", registry=REGISTRY).is_ok


def test_a_tail_goes_on_into_new_segments(tmp_path: Path) -> None:
    """A tail that waits at the end of a segment finds the next one."""
    with new_ledger(tmp_path, _SMALL) as store:
        tail = store.tail(store.end())
        tail.wakeup_fileno()
        seen = []
        for number in range(60):
            store.append("run/a", [Stepped(step=number)])
            seen += tail.read()
        assert seen == list(store.scan(start=1))
        assert len(_segments(store.path)) > 3
        tail.close()


def test_a_roll_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """If a writer dies between sealing a segment and opening the next, the next writer opens it."""
    with _rolled(tmp_path) as store:
        whole = list(store.lines())
    *_, last = _segments(store.path)
    first_line = last.read_bytes().splitlines()[0]
    last.rename(last.with_suffix(".jsonl.tmp"))
    with open_ledger(store.path, registry=REGISTRY, settings=_SMALL, write=False) as reader:
        assert list(reader.lines()) == whole[: whole.index(first_line)]
    with open_ledger(store.path, registry=REGISTRY, settings=_SMALL) as store:
        assert next(iter(store.scan(start=whole.index(first_line)))).name == "ledger.segment_opened"
        store.append("run/a", [Saved(name="x")])
    assert check_ledger(store.path, "deep", registry=REGISTRY).is_ok


def test_without_a_summary_everything_is_read(tmp_path: Path) -> None:
    """A missing or damaged summary costs time and nothing else."""
    with _rolled(tmp_path) as store:
        end = store.end()
    for path in (store.path / "blobs" / "sha256").rglob("*"):
        if path.is_file():
            path.unlink()
    with open_ledger(store.path, registry=REGISTRY, settings=_SMALL) as store:
        assert store.end() == end
        assert store.version("run/0") == 45
    assert {finding.code for finding in check_ledger(store.path).findings} == {"summary_missing"}


def test_a_missing_or_cut_segment_is_tampering(tmp_path: Path) -> None:
    """No crash can take away what was sealed."""
    with _rolled(tmp_path) as store:
        pass
    for change in ("missing", "cut"):
        copy = tmp_path / change
        shutil.copytree(store.path, copy)
        second = _segments(copy)[1]
        if change == "missing":
            second.unlink()
            with pytest.raises(TamperedError, match=r"segment 00000001\.jsonl is missing"):
                open_ledger(copy, registry=REGISTRY)
        else:
            data = second.read_bytes()
            second.unlink()
            second.write_bytes(data[: data[:-1].rfind(b"\n") + 1])
            with open_ledger(copy, registry=REGISTRY, write=False) as reader, pytest.raises(TamperedError, match="ends without the record"):
                list(reader.scan())


def test_an_altered_sealed_segment_is_damage(tmp_path: Path) -> None:
    """Reading a sealed segment with an altered byte names segment, byte and position."""
    with _rolled(tmp_path) as store:
        pass
    second = _segments(store.path)[1]
    data = bytearray(second.read_bytes())
    data[600] ^= 1
    second.chmod(0o644)
    second.write_bytes(data)
    with open_ledger(store.path, registry=REGISTRY, settings=_SMALL, write=False) as reader, pytest.raises(CorruptError) as caught:
        list(reader.scan())
    assert caught.value.segment == "00000001.jsonl"
    codes = {finding.code for finding in check_ledger(store.path).findings}
    assert {"segment_digest", "chain_broken"} <= codes


def test_a_copy_without_its_lock_is_repaired_before_it_is_written_to(tmp_path: Path) -> None:
    """A backup may lack the file and can be read; only a repair makes it, as a writer may still hold the one that was removed."""
    with new_ledger(tmp_path) as store:
        fill(store, 1)
    (store.path / "lock").unlink()
    with open_ledger(store.path, registry=REGISTRY, write=False) as reader:
        assert len(list(reader.scan())) > 1
    with pytest.raises(WriteError, match="lock is missing"):
        open_ledger(store.path, registry=REGISTRY)
    assert [finding.code for finding in check_ledger(store.path).findings] == ["lock_missing"]
    assert check_ledger(store.path, repair=True).findings == ()
    with open_ledger(store.path, registry=REGISTRY) as store:
        assert store.append("run/a", [Saved(name="x")]).is_durable


def test_a_ledger_is_created_once(tmp_path: Path) -> None:
    """Creating refuses where there is a ledger, and opening refuses where there is none or a newer one."""
    with new_ledger(tmp_path) as store:
        fill(store, 1)
    with pytest.raises(LedgerExistsError, match="already holds a ledger"):
        new_ledger(tmp_path)
    with pytest.raises(NotALedgerError, match=r"has no LEDGER\.json"):
        open_ledger(tmp_path, registry=REGISTRY)
    identity = store.path / "LEDGER.json"
    identity.write_text(identity.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(FormatVersionError, match="format 2, expected 1"):
        open_ledger(store.path, registry=REGISTRY)
    with pytest.raises(ValueError, match="origin"):
        create_ledger(tmp_path / "other", origin="a b", registry=REGISTRY)


def test_a_creation_that_was_cut_short_is_done_anew(tmp_path: Path) -> None:
    """Without `LEDGER.json` an empty first segment is replaced, and one with records is not."""
    with new_ledger(tmp_path) as store:
        pass
    (store.path / "LEDGER.json").unlink()
    with new_ledger(tmp_path) as store:
        fill(store, 1)
    (store.path / "LEDGER.json").unlink()
    with pytest.raises(TamperedError, match=r"LEDGER\.json is missing"):
        new_ledger(tmp_path)
