"""An examination finds what is wrong, says where, and repairs only what it is asked to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.chain import chain_bytes, head, link
from ledger.errors import NotALedgerError
from ledger.events import LedgerRepaired
from ledger.findings import Depth, FsckReport
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.ownership import claim
from ledger.record import Cursor
from ledger.settings import LedgerSettings
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, fill, new_ledger, tree_digest


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A closed ledger of 12 batches of 3, and one blob."""
    with new_ledger(tmp_path) as store:
        fill(store)
        store.append("run/0", [Filed(blobs=(store.blobs.put_bytes(b"weights"),))])
    return store.path


def _segment(ledger: Path) -> Path:
    return ledger / "seg" / "00000000.jsonl"


def _codes(report: FsckReport) -> list[str]:
    return [finding.code for finding in report.findings]


def _rechained(lines: list[bytes]) -> bytes:
    """`lines` with the chain hashes that a forger would compute."""
    chain, out = chain_bytes(Cursor.genesis(ORIGIN).chain), b""
    for line in lines:
        chain = link(chain, line[51:])
        out += head(chain) + line[51:] + b"\n"
    return out


@pytest.mark.parametrize("depth", ["quick", "full", "deep"])
def test_a_good_ledger_has_no_findings(ledger: Path, depth: str) -> None:
    """Nothing is found, and everything is counted."""
    report = check_ledger(ledger, depth, registry=REGISTRY)  # type: ignore[arg-type]  # a parameter is a plain string
    assert (report.is_ok, report.exit, _codes(report), report.size, report.num_segments) == (True, 0, [], 38, 1)
    with open_ledger(ledger, registry=REGISTRY) as store:
        assert Cursor(position=report.size, chain=report.chain) == store.end()
    assert set(report.to_plain()) == {
        "is_ok",
        "exit",
        "size",
        "chain",
        "root",
        "head",
        "num_segments",
        "findings",
        "seconds",
        "records_per_second",
    }


def test_a_damaged_line_is_found_and_the_rest_examined(ledger: Path) -> None:
    """Two damaged lines give two errors with their places; nothing is changed."""
    data = bytearray(_segment(ledger).read_bytes())
    ends = [index + 1 for index, byte in enumerate(data) if byte == 0x0A]
    data[ends[4] + 100] ^= 1
    data[ends[20] + 100] ^= 1
    _segment(ledger).write_bytes(data)
    before = tree_digest(ledger)
    report = check_ledger(ledger)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [(finding.position, finding.offset_bytes) for finding in errors] == [(5, ends[4]), (21, ends[20])]
    assert report.findings[0].action.endswith("accept the loss of 34 records")
    assert report.exit == 5
    assert tree_digest(ledger) == before


_FORGERIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "position_gap": lambda lines: [line.replace(b'"q":9,', b'"q":10,') for line in lines],
    "version_gap": lambda lines: [re.sub(rb'("q":9,.*?"v":)(\d+)', rb"\g<1>77", line) for line in lines],
    "batch_broken": lambda lines: [re.sub(rb'("q":9,.*?"b":\[)3', rb"\g<1>2", line) for line in lines],
    "key_duplicate": lambda lines: [line.replace(b'"k":"k8"', b'"k":"k0"') for line in lines],
    "line_damaged": lambda lines: [line.replace(b'"q":9,', b'"q": 9,') for line in lines],
    "undecodable_event": lambda lines: [re.sub(rb'("q":9,.*"step":)\d+', rb'\g<1>"x"', line) for line in lines],
    "duplicate_json_key": lambda lines: [re.sub(rb'("q":9,.*)"step":', rb'\g<1>"step":0,"step":', line) for line in lines],
    "unknown_field": lambda lines: [re.sub(rb'("q":9,.*)"step":', rb'\g<1>"stap":0,"step":', line) for line in lines],
    "unknown_event": lambda lines: [re.sub(rb'("q":9,.*)example\.stepped', rb"\g<1>example.stapped", line) for line in lines],
    "clock_stepped_back": lambda lines: [re.sub(rb'("q":9,.*"t":)1', rb"\g<1>2", line) for line in lines],
    "blob_missing": lambda lines: [re.sub(rb'("q":37,.*"sha256":")....', rb"\g<1>abcd", line) for line in lines],
}


@pytest.mark.parametrize("code", _FORGERIES)
def test_a_forged_line_with_a_right_chain_is_found(ledger: Path, code: str) -> None:
    """Each rule of the format is held against each line, not the chain alone."""
    lines = _FORGERIES[code](_segment(ledger).read_bytes().splitlines())
    _segment(ledger).write_bytes(_rechained(lines))
    report = check_ledger(ledger, "deep", registry=REGISTRY)
    assert code in _codes(report)
    found = next(finding for finding in report.findings if finding.code == code)
    assert found.position in (9, 10, 25, 37, None)
    assert report.is_ok == (found.severity != "error")


@pytest.mark.parametrize("depth", ["full", "deep"])
def test_a_fence_that_no_owner_has_is_found(tmp_path: Path, depth: Depth) -> None:
    """A replaced owner's records cannot follow its successor's, and nobody writes as an owner that does not exist yet."""
    with new_ledger(tmp_path) as store:
        for _ in range(2):
            with claim(store, "a", "ann") as owner:
                store.append("run/a", [Saved(name="x")], guards=[owner.guard])
    lines = _segment(store.path).read_bytes().splitlines()
    assert _codes(check_ledger(store.path, depth, registry=REGISTRY)) == []
    index = next(number for number, line in enumerate(lines) if b'"f":3' in line)
    for forged in (b'"f":1', b'"f":9'):
        changed = [*lines[:index], lines[index].replace(b'"f":3', forged), *lines[index + 1 :]]
        _segment(store.path).write_bytes(_rechained(changed))
        assert _codes(check_ledger(store.path, depth, registry=REGISTRY)) == ["fence_violation"]


@pytest.mark.parametrize("depth", ["full", "deep"])
def test_owners_of_two_runs_may_write_to_one_stream(tmp_path: Path, depth: Depth) -> None:
    """Fences of different runs do not follow each other: where a lower one comes second, that is told and no error."""
    with new_ledger(tmp_path) as store:
        claim(store, "a", "ann").release()
        with claim(store, "a", "ann") as first, claim(store, "b", "ann") as second:
            assert first.fence > second.fence
            for owner in (first, second):
                store.append("shared", [Saved(name="x")], guards=[owner.guard])
    report = check_ledger(store.path, depth, registry=REGISTRY)
    assert (_codes(report), report.exit) == (["fences_mixed"], 0)


def test_damaged_and_superfluous_blobs_are_found(ledger: Path) -> None:
    """A blob of another size is found at once, one of other bytes by the deep examination, one that nobody names is noted."""
    (blob,) = (path for path in (ledger / "blobs" / "sha256").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"weighty")
    assert _codes(check_ledger(ledger)) == []
    assert _codes(check_ledger(ledger, "deep")) == ["blob_damaged"]
    blob.write_bytes(b"weight")
    assert _codes(check_ledger(ledger)) == ["blob_damaged"]
    with open_ledger(ledger, registry=REGISTRY) as store:
        store.blobs.put_bytes(b"weights")
        store.blobs.put_bytes(b"nobody's")
    assert _codes(check_ledger(ledger)) == ["unreferenced_blob"]


def test_a_torn_tail_is_a_warning_and_goes_on_request(ledger: Path) -> None:
    """A torn tail is no error; repairing moves it to quarantine."""
    with _segment(ledger).open("ab") as stream:
        stream.write(b'{"c":"AAAA')
    before = tree_digest(ledger)
    report = check_ledger(ledger)
    assert (report.is_ok, _codes(report)) == (True, ["torn_tail"])
    assert tree_digest(ledger) == before
    assert _codes(check_ledger(ledger, repair=True)) == ["quarantine_present"]


def test_a_loss_must_be_accepted_by_its_number(ledger: Path) -> None:
    """Damage goes only with the number of records that go with it; they stay in quarantine, and the loss is a record."""
    data = bytearray(_segment(ledger).read_bytes())
    ends = [index + 1 for index, byte in enumerate(data) if byte == 0x0A]
    data[ends[30] + 60] ^= 1
    _segment(ledger).write_bytes(data)
    before = tree_digest(ledger)
    for accepted, said in ((None, ""), (6, ", not of 6"), (8, ", not of 8")):
        report = check_ledger(ledger, repair=True, accept_loss=accepted)
        assert not report.is_ok
        assert tree_digest(ledger) == before
        assert report.findings[0].action.endswith(f"accept the loss of 7 records{said}")
    with pytest.raises(ValueError, match="expected 0 or more"):
        check_ledger(ledger, repair=True, accept_loss=-1)
    repaired = check_ledger(ledger, repair=True, accept_loss=7)
    assert (repaired.is_ok, repaired.size) == (True, 32)
    with open_ledger(ledger, registry=REGISTRY) as store:
        event = list(store.scan())[-1].event
        assert isinstance(event, LedgerRepaired)
        assert (event.reason, event.num_lost_records) == ("operator", 7)
        assert store.append("run/0", [Saved(name="x")]).is_durable


def test_behind_a_missing_segment_the_examination_goes_on(tmp_path: Path) -> None:
    """Every stretch of missing segments is one finding, and damage in the segments that are there is found all the same."""
    with new_ledger(tmp_path, LedgerSettings(segment_max_bytes=2_000)) as store:
        fill(store, 40)
    segments = sorted((store.path / "seg").iterdir())
    for missing in (segments[0], segments[2], segments[3]):
        missing.unlink()
    segments[5].chmod(0o644)
    segments[5].write_bytes(segments[5].read_bytes().replace(b'"loss_nats":0', b'"loss_nats":1', 1))
    report = check_ledger(store.path, "deep", registry=REGISTRY)
    errors = [(each.code, each.segment) for each in report.findings if each.severity == "error"]
    assert errors == [
        ("segment_missing", "00000000.jsonl"),
        ("segment_missing", "00000002.jsonl"),
        ("segment_digest", "00000005.jsonl"),
        ("chain_broken", "00000005.jsonl"),
    ]
    assert "00000002.jsonl to 00000003.jsonl are missing" in report.findings[1].message
    assert report.num_segments == len(segments) - 3


@pytest.mark.parametrize("damaged", [b"{", b'{"format":1}', b'{"format":1,"origin":5,"created_ms":1,"vkey":null}', None])
def test_a_damaged_ledger_json_is_a_finding(ledger: Path, damaged: bytes | None) -> None:
    """The rest is examined by what the first record says."""
    file = ledger / "LEDGER.json"
    file.write_bytes(file.read_bytes().replace(b"tests", b"tasks") if damaged is None else damaged)
    report = check_ledger(ledger, "deep", registry=REGISTRY, repair=True)
    assert (_codes(report), report.size, report.exit) == (["genesis_mismatch"], 38, 5)
    _segment(ledger).unlink()
    assert "segment_missing" in _codes(check_ledger(ledger))


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    """Examining what is no ledger says so and writes nothing."""
    with pytest.raises(NotALedgerError, match="is not a ledger"):
        check_ledger(tmp_path)
    assert list(tmp_path.iterdir()) == []
