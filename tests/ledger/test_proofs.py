"""A proof convinces a stranger with the public key alone, and nothing that is false can be proven."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import HeadConflictError, IntegrityError, KeyFileError, ProofError, SetupError, TamperedError
from ledger.key_rotation import retire_key, rotate_key
from ledger.layout import Layout
from ledger.line_search import find_line
from ledger.proofs import consistency_proof, prove, verify_consistency_proof, verify_proof
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.tile_export import export_tiles
from ledger.tiles import MissingTileError, TileFolder, tile_path
from ledger.tree_head import Signer, TreeHead, sign_note
from tests.ledger.c2sp import check_folder, check_note, check_proof
from tests.ledger.examples import ORIGIN, Filed, Saved, fill, new_ledger
from tests.ledger.signed import SIGNER, forge, open_signed, signed_ledger

_KEYS = [SIGNER.vkey]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    """An open ledger of several segments, and of more than one tile."""
    with signed_ledger(tmp_path, LedgerSettings(segment_max_bytes=30_000)) as store:
        fill(store, 150)
        store.sign_head()
        yield store


def _spoil_tiles(path: Path) -> None:
    for each in (path / "tile").rglob("*"):
        if each.is_file():
            each.write_bytes(bytes(each.stat().st_size))


def test_every_record_can_be_proven_to_a_stranger(store: FileStore) -> None:
    """Each record's proof verifies here and by an independent reading of the formats, and gives back the exact line."""
    lines = list(store.lines())
    for position in [*range(0, len(lines) - 1, 23), len(lines) - 2]:
        text = prove(store, position)
        verified = verify_proof(text, _KEYS)
        assert (verified.position, verified.line) == check_proof(text, SIGNER.vkey) == (position, lines[position])
        assert verified.envelope.q == position


def test_a_record_that_no_head_covers_is_signed_first(store: FileStore) -> None:
    """A proof of a new record signs a head; one of an old record uses the head that is there."""
    before = store.tree_head()
    prove(store, 3)
    assert store.tree_head() == before
    position = store.append("run/a", [Saved(name="x")]).first
    prove(store, position)
    after = store.tree_head()
    assert before is not None
    assert after is not None
    assert after.size > position >= before.size
    with pytest.raises(ValueError, match="expected at least"):
        prove(store, store.end().position + 5)
    with pytest.raises(ValueError, match="only tells of a signature"):
        prove(store, store.end().position - 1)


def test_a_reader_proves_what_is_signed(store: FileStore) -> None:
    """Without a key the records under the last head can be proven, with or without tiles, and no others."""
    last = store.append("run/a", [Saved(name="x")]).first
    with open_signed(store.path, write=False) as reader:
        expected = prove(reader, 5)
        with pytest.raises(KeyFileError, match="with its key"):
            prove(reader, last)
        _spoil_tiles(store.path)
        assert prove(reader, 5) == expected


def test_garbled_tiles_are_made_again(store: FileStore) -> None:
    """A proof does not depend on what the tiles hold, and a writer puts them right."""
    expected = prove(store, 5)
    _spoil_tiles(store.path)
    assert prove(store, 5) == expected
    assert any((store.path / "tile" / "0" / "000").read_bytes())


def test_every_changed_byte_of_a_proof_is_refused(store: FileStore) -> None:
    """No byte of a proof can be changed without it being refused."""
    text = prove(store, 200).encode()
    for index in range(len(text)):
        wrong = text[:index] + bytes([text[index] ^ 1]) + text[index + 1 :]
        with pytest.raises(ProofError, match="does not hold"):
            verify_proof(wrong.decode(errors="replace"), _KEYS)


def test_a_proof_needs_a_key(store: FileStore) -> None:
    """Under no key nothing is proven, and under another key nothing either."""
    text = prove(store, 0)
    with pytest.raises(KeyFileError, match="nothing is proven"):
        verify_proof(text, [])
    with pytest.raises(ProofError, match="none of the keys"):
        verify_proof(text, [Signer.generate(ORIGIN).vkey])


def test_what_is_no_record_at_its_position_is_refused() -> None:
    """A leaf that is not a line, or a line of another position, proves nothing even under a good signature."""
    for line, reason in (
        (b"hello", "not a record"),
        (b'{"c":"","q":1,"s":"a","v":0,"b":[1,1],"t":0,"y":"a.b/1","e":{}}', "says position 1"),
    ):
        root = hashlib.sha256(b"\0" + line).digest()
        note = sign_note(TreeHead(origin=ORIGIN, size=1, root=root), SIGNER)
        text = f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(line).decode()}\nindex 0\n\n{note}"
        with pytest.raises(ProofError, match=reason):
            verify_proof(text, _KEYS)


def test_a_head_that_does_not_verify_is_not_handed_out(store: FileStore, tmp_path: Path) -> None:
    """A note that no key of the ledger signed goes into no proof and no export, whoever asks."""
    head = store.tree_head()
    assert head is not None
    note = sign_note(head, Signer.generate(ORIGIN))
    (store.path / "tree_head").write_text(note)
    with open_signed(store.path, write=False) as reader:
        for asked in (reader, store):
            for ask in (lambda asked=asked: prove(asked, 5), lambda asked=asked: export_tiles(asked, tmp_path / "out")):
                with pytest.raises(IntegrityError, match="none of the keys"):
                    ask()
        with pytest.raises(ProofError):
            consistency_proof(reader, note)


def test_a_proof_under_a_key_that_counts_no_more_is_not_made(store: FileStore) -> None:
    """Where the head's key was retired for so many records, another key signs first, and a reader is refused."""
    second = Signer.generate(ORIGIN)
    rotate_key(store, second)
    retire_key(store, SIGNER.vkey, "compromised", 5)
    with open_signed(store.path, write=False) as reader, pytest.raises(ProofError):
        prove(reader, 3)
    with open_signed(store.path, signer=second) as other:
        assert verify_proof(prove(other, 3), [second.vkey]).position == 3


def test_a_proven_record_names_its_artifact(store: FileStore) -> None:
    """A file is the one that was recorded if its digest stands in the payload."""
    ref = store.blobs.put_bytes(b"weights")
    position = store.append("run/a", [Filed(blobs=(ref,))]).first
    verified = verify_proof(prove(store, position), _KEYS)
    assert verified.names(ref.sha256)
    assert not verified.names(hashlib.sha256(b"other").hexdigest())
    assert not verified.names("")
    assert verified.payload_sha256 is None


def test_a_proof_says_where_a_payload_that_is_not_in_its_line_lies(store: FileStore) -> None:
    """A record too long for a line names its payload, and what that names cannot be told from the proof alone."""
    refs = tuple(store.blobs.put_bytes(b"%d" % number) for number in range(700))
    position = store.append("run/a", [Filed(blobs=refs)]).first
    store.sign_head()
    verified = verify_proof(prove(store, position), _KEYS)
    assert verified.payload_sha256 is not None
    assert verified.names(verified.payload_sha256)
    assert not verified.names(refs[0].sha256)
    assert (store.path / "blobs" / "sha256" / verified.payload_sha256[:2] / verified.payload_sha256).is_file()


@pytest.mark.parametrize("with_tiles", [True, False])
def test_changed_records_cannot_be_proven(tmp_path: Path, with_tiles: bool) -> None:
    """A record that is not the one that was signed is an integrity violation, which names it if the tiles are there."""
    with signed_ledger(tmp_path) as store:
        fill(store, 150)
        store.sign_head()
    forge(store.path, 300)
    if not with_tiles:
        _spoil_tiles(store.path)
    with open_signed(store.path) as store:
        expected = "the one at position 300 was changed" if with_tiles else "one of them was changed"
        with pytest.raises(TamperedError, match=expected):
            prove(store, 300)


def test_a_head_kept_elsewhere_is_continued(store: FileStore) -> None:
    """The proof between two heads verifies, and a head of another history is found out."""
    note = (store.path / "tree_head").read_text()
    assert verify_consistency_proof(consistency_proof(store, note), note, _KEYS) == store.tree_head()
    fill(store, 40)
    store.sign_head()
    text = consistency_proof(store, note)
    assert verify_consistency_proof(text, note, _KEYS) == store.tree_head()
    size, _ = check_note(note, SIGNER.vkey)
    for wrong in (TreeHead(origin=ORIGIN, size=size, root=bytes(32)), TreeHead(origin=ORIGIN, size=size + 9_999, root=bytes(32))):
        with pytest.raises(HeadConflictError):
            consistency_proof(store, sign_note(wrong, SIGNER))
    with pytest.raises(ProofError):
        consistency_proof(store, sign_note(wrong, Signer.generate(ORIGIN)))


def test_every_changed_byte_of_a_consistency_proof_is_refused(store: FileStore) -> None:
    """No byte of a consistency proof can be changed without it being refused."""
    note = (store.path / "tree_head").read_text()
    fill(store, 40)
    store.sign_head()
    text = consistency_proof(store, note).encode()
    for index in range(len(text)):
        wrong = text[:index] + bytes([text[index] ^ 1]) + text[index + 1 :]
        with pytest.raises(ProofError, match="does not hold"):
            verify_consistency_proof(wrong.decode(errors="replace"), note, _KEYS)
    with pytest.raises(KeyFileError, match="nothing is proven"):
        verify_consistency_proof(text.decode(), note, [])


def test_an_export_is_a_tile_folder_for_everyone(store: FileStore, tmp_path: Path) -> None:
    """An independent reader finds every line, every tile and the signed root."""
    head = export_tiles(store, tmp_path / "out")
    assert check_folder(tmp_path / "out", SIGNER.vkey) == list(store.lines(0, head.size))
    with pytest.raises(SetupError, match="is not empty"):
        export_tiles(store, tmp_path / "out")


def test_changed_records_are_not_exported(tmp_path: Path) -> None:
    """An export of records that are not those that were signed has no checkpoint."""
    with signed_ledger(tmp_path) as store:
        fill(store)
        store.sign_head()
    forge(store.path, 7)
    with open_signed(store.path, write=False) as store, pytest.raises(TamperedError, match="do not have the root"):
        export_tiles(store, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_a_ledger_without_a_key_proves_nothing(tmp_path: Path) -> None:
    """Neither a proof nor an export is made where nobody can sign."""
    with new_ledger(tmp_path) as store:
        with pytest.raises(KeyFileError):
            prove(store, 0)
        with pytest.raises(KeyFileError):
            export_tiles(store, tmp_path / "out")


def test_a_line_is_found_by_its_position(store: FileStore) -> None:
    """Every position of every segment is found without a scan, and none beyond the end."""
    for position, line in enumerate(store.lines()):
        found = find_line(Layout(store.path), ORIGIN, position)
        assert found is not None
        assert found.line == line
        data = (store.path / "seg" / f"{found.segment:08d}.jsonl").read_bytes()
        assert data[found.offset : found.offset + len(line)] == line
    assert find_line(Layout(store.path), ORIGIN, position + 1) is None
    (store.path / "seg" / "00000000.jsonl").chmod(0o644)
    (store.path / "seg" / "00000000.jsonl").write_bytes(b"x\n" * 20_000)
    with pytest.raises(IntegrityError):
        find_line(Layout(store.path), ORIGIN, 3)


def test_tiles_have_the_paths_of_the_format(tmp_path: Path) -> None:
    """Indices are written in groups of three digits, partial tiles with their width; what is not there is missing."""
    assert [tile_path(0, 0), tile_path(1, 1_234_067), tile_path("entries", 5, 17)] == ["0/000", "1/x001/x234/067", "entries/005.p/17"]
    with pytest.raises(MissingTileError, match="0/003"):
        TileFolder(tmp_path).read(0, 3, 1)
