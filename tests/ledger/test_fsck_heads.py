"""An examination holds a ledger against what was signed, and names the first record that was changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from ledger.findings import FsckReport
from ledger.fsck import check_ledger
from ledger.head_examination import HeadExamination, Trust
from ledger.key_files import KeyFolder
from ledger.key_rotation import retire_key, rotate_key
from ledger.layout import Layout
from ledger.merkle import Frontier
from ledger.segments import FileStore
from ledger.tree_head import Signer, TreeHead, from_base64, parse_note, sign_note
from tests.ledger.examples import ORIGIN, Saved, fill, new_ledger, tree_digest
from tests.ledger.signed import SIGNER, forge, open_signed, signed_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A closed ledger of more than a tile, with two heads and nothing behind the record of the second."""
    with signed_ledger(tmp_path) as store:
        fill(store, 50)
        store.sign_head()
        fill(store, 49)
        store.append("run/a", [Saved(name="x")] * 2)
        store.sign_head()
    return store.path


def _codes(report: FsckReport) -> list[str]:
    return [finding.code for finding in report.findings]


def _head(ledger: Path) -> str:
    return (ledger / "tree_head").read_text()


def _size(ledger: Path) -> int:
    return parse_note(_head(ledger)).size


def test_a_good_signed_ledger_has_no_findings(ledger: Path) -> None:
    """Root and signed size are reported, with or without a look at the tiles and the trusted keys."""
    with open_signed(ledger) as store:
        frontier = Frontier()
        frontier.extend_lines(store.lines())
    report = check_ledger(ledger, trust=Trust(vkeys=[SIGNER.vkey], notes=[_head(ledger)]))
    assert (_codes(report), report.head, report.size) == ([], _size(ledger), _size(ledger) + 1)
    assert report.size > 256
    assert report.root is not None
    assert from_base64(report.root, 32) == frontier.root()
    quick = check_ledger(ledger, "quick")
    assert (_codes(quick), quick.head, quick.root) == ([], report.head, None)


def test_no_loss_of_signed_records_is_offered(ledger: Path) -> None:
    """Where a signed head covers what follows the damage there is no number to accept, and a repair that is given one changes nothing."""
    segment = ledger / "seg" / "00000000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[200] = lines[200].replace(b'"v":', b'"v":1', 1)
    segment.write_bytes(b"".join(lines))
    before = tree_digest(ledger)
    report = check_ledger(ledger, repair=True, accept_loss=len(lines) - 200)
    damaged = next(each for each in report.findings if each.position == 200)
    assert (damaged.code, damaged.action) == ("chain_broken", "restore the segment from a backup")
    assert tree_digest(ledger) == before


@pytest.mark.parametrize("position", [1, 150, 200, 255, 256, 258])
def test_a_forged_record_is_named(ledger: Path, position: int) -> None:
    """A record that was changed, with all chain hashes computed anew, is found by the signature and named by the tiles."""
    forge(ledger, position)
    before = tree_digest(ledger)
    report = check_ledger(ledger)
    found = next(finding for finding in report.findings if finding.code == "head_root")
    assert (report.exit, found.position, found.segment) == (5, position, "00000000.jsonl")
    data = (ledger / "seg" / "00000000.jsonl").read_bytes()
    assert data[found.offset_bytes :].startswith(b'{"c":"')
    assert b'"q":%d,' % position in data[found.offset_bytes :].split(b"\n")[0]
    assert tree_digest(ledger) == before


def test_a_forged_record_is_found_without_tiles(ledger: Path) -> None:
    """Without tiles the change is found all the same, between the last head that holds and the first that does not."""
    forge(ledger, 200)
    for path in list((ledger / "tile").rglob("*")):
        if path.is_file():
            path.unlink()
    report = check_ledger(ledger, repair=True)
    found = next(finding for finding in report.findings if finding.code == "head_root")
    assert f"first {_size(ledger)} records" in found.message
    assert "tile_mismatch" in _codes(report)
    assert not report.is_ok


def test_every_flipped_bit_below_the_head_is_an_error(tmp_path: Path) -> None:
    """No bit of the signed lines, nor of the note itself, can be changed without an error."""
    with signed_ledger(tmp_path) as store:
        fill(store, 1)
        store.sign_head()
    for path in (store.path / "seg" / "00000000.jsonl", store.path / "tree_head"):
        data = path.read_bytes()
        for index in range(0, len(data), 4):
            path.write_bytes(data[:index] + bytes([data[index] ^ (1 << index % 8)]) + data[index + 1 :])
            assert check_ledger(store.path).exit == 5
        path.write_bytes(data)
    assert check_ledger(store.path).is_ok


def _cut(ledger: Path) -> None:
    segment = ledger / "seg" / "00000000.jsonl"
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-8]))


def _old_head(ledger: Path) -> None:
    with open_signed(ledger) as store:
        old = next(head for head in store.signed_history().heads).head
    (ledger / "tree_head").write_text(sign_note(old, SIGNER))


def _stranger(ledger: Path) -> None:
    with open_signed(ledger) as store:
        head = store.tree_head()
    assert head is not None
    (ledger / "tree_head").write_text(sign_note(head, Signer.generate(ORIGIN)))


def _false_root(ledger: Path) -> None:
    (ledger / "tree_head").write_text(sign_note(TreeHead(origin=ORIGIN, size=_size(ledger), root=bytes(32)), SIGNER))


_DEEDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut": ("head_ahead", _cut),
    "old head": ("head_rolled_back", _old_head),
    "no head": ("head_rolled_back", lambda ledger: (ledger / "tree_head").unlink()),
    "garbled head": ("head_signature", lambda ledger: (ledger / "tree_head").write_bytes(b"\xff")),
    "strange head": ("head_signature", _stranger),
    "false root": ("head_root", _false_root),
}


@pytest.mark.parametrize("deed", _DEEDS)
def test_what_is_done_to_a_head_is_found(ledger: Path, deed: str) -> None:
    """A head that was taken away, replaced, or left behind by a cut ledger is an error of its own kind, which no repair removes."""
    code, do = _DEEDS[deed]
    do(ledger)
    for repair in (False, True):
        report = check_ledger(ledger, repair=repair)
        assert code in _codes(report)
        assert report.exit == 5


@frozen
class _AtWork(Layout):
    """A ledger where something is done just before, and something just after its note is read."""

    before: Callable[[], object]
    after: Callable[[], object]

    def read_note(self) -> str | None:
        self.before()
        note = super().read_note()
        self.after()
        return note


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_head_that_is_signed_meanwhile_is_no_finding(ledger: Path, moment: str) -> None:
    """A ledger at work, which signs with old and new keys while its head is read, has nothing wrong."""
    second = Signer.generate(ORIGIN)

    def sign() -> None:
        with open_signed(ledger) as store:
            rotate_key(store, second)
        with open_signed(ledger, signer=second) as store:
            fill(store, 1)
            store.sign_head()

    deeds = {"before": lambda: None, "after": lambda: None, moment: sign}
    identity = Layout(ledger).read_identity()
    examination = HeadExamination(_AtWork(ledger, **deeds), identity, Trust(), with_lines=True)
    with open_signed(ledger, write=False) as store:
        lines = list(store.lines())
    examination.take(lines)
    examination.finish(len(lines))
    assert examination.findings == []


def test_a_head_kept_elsewhere_finds_an_older_copy(ledger: Path, tmp_path: Path) -> None:
    """A whole ledger put back to an earlier state is consistent in itself; a later head kept elsewhere says so."""
    with open_signed(ledger) as store:
        fill(store)
        kept = store.sign_head()
    assert kept is not None
    (tmp_path / "other").mkdir()
    with signed_ledger(tmp_path / "other") as other:
        fill(other, 60)
        other.sign_head()
    assert _codes(check_ledger(other.path)) == []
    assert _codes(check_ledger(other.path, trust=Trust(notes=[kept]))) == ["head_rolled_back"]
    early = Trust(notes=[sign_note(TreeHead(origin=ORIGIN, size=5, root=bytes(32)), SIGNER)])
    assert _codes(check_ledger(other.path, trust=early)) == ["head_root"]
    stranger = Trust(notes=[sign_note(TreeHead(origin=ORIGIN, size=5, root=bytes(32)), Signer.generate(ORIGIN))])
    assert _codes(check_ledger(other.path, trust=stranger)) == ["head_signature"]


def test_garbled_tiles_are_a_warning_and_go_on_request(ledger: Path) -> None:
    """Tiles are no part of the ledger: what is wrong with them is a warning, and a repair makes them again."""
    (ledger / "tile" / "0" / "000").write_bytes(bytes(8192))
    (ledger / "tile" / "1").rename(ledger / "tile" / "gone")
    assert (_codes(check_ledger(ledger)), check_ledger(ledger).exit) == (["tile_mismatch"], 0)
    assert _codes(check_ledger(ledger, repair=True)) == []


def test_a_retired_key_does_not_count_beyond_its_size(ledger: Path) -> None:
    """A head over more records than the key was good for is an error until another key signs."""
    second = Signer.generate(ORIGIN)
    with open_signed(ledger) as store:
        rotate_key(store, second)
        assert _codes(check_ledger(ledger)) == []
        retire_key(store, SIGNER.vkey, "compromised", 200)
    assert _codes(check_ledger(ledger)) == ["head_signature"]
    with open_signed(ledger, signer=second) as store:
        store.sign_head()
    assert _codes(check_ledger(ledger)) == []


def test_a_key_that_is_not_trusted_is_a_warning(ledger: Path) -> None:
    """Who gives trusted keys is told if the ledger was signed with another."""
    for vkeys in ([], [Signer.generate(ORIGIN).vkey]):
        report = check_ledger(ledger, trust=Trust(vkeys=vkeys))
        assert (_codes(report), report.exit) == (["unpinned_key"], 0)


def test_a_key_that_others_can_read_is_a_warning(ledger: Path, tmp_path: Path) -> None:
    """The permissions of the private keys are looked at where they are given."""
    keys = KeyFolder(tmp_path / "keys")
    signer = keys.create(ORIGIN)
    assert _codes(check_ledger(ledger, trust=Trust(keys=keys))) == []
    (keys.path / f"{signer.key_id}.key").chmod(0o640)
    report = check_ledger(ledger, trust=Trust(keys=keys))
    assert (_codes(report), report.exit) == (["key_permissions"], 0)


def test_a_ledger_with_a_key_and_no_head_is_a_warning(tmp_path: Path) -> None:
    """A ledger that could be signed and is not says so; one without a key does not."""
    store: FileStore
    with signed_ledger(tmp_path) as store:
        fill(store)
    assert (_codes(check_ledger(store.path)), check_ledger(store.path).head) == (["no_head"], None)
    (tmp_path / "plain").mkdir()
    with new_ledger(tmp_path / "plain") as store:
        fill(store)
    assert _codes(check_ledger(store.path)) == []
