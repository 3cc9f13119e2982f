"""A blob is what its digest says, or it is not given out."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.blobs import Blobs
from ledger.errors import BlobDamagedError, BlobMissingError
from ledger.record import BlobRef


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty folder of blobs."""
    return Blobs(tmp_path / "blobs")


def _read(blobs: Blobs, ref: BlobRef) -> bytes:
    with blobs.open(ref, verify=True) as stream:
        return stream.read()


@settings(max_examples=25)
@given(data=st.binary(max_size=100))
def test_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """A blob is named by the SHA-256 and the number of its bytes, and is read-only."""
    blobs = Blobs(tmp_path_factory.getbasetemp() / "blobs")
    ref = blobs.put_bytes(data)
    assert ref == BlobRef(sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data))
    assert _read(blobs, ref) == data
    assert stat.S_IMODE(blobs.path(ref).stat().st_mode) == 0o444
    assert blobs.put_bytes(data) == ref


def test_files_are_copied_or_moved(blobs: Blobs, tmp_path: Path) -> None:
    """A copied file stays, a moved one goes, also when its bytes were there already."""
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    ref = blobs.put_file(path)
    assert path.read_bytes() == b"weights"
    assert blobs.put_file(path, move=True) == ref
    assert not path.exists()
    path.write_bytes(b"other weights")
    other = blobs.put_file(path, move=True)
    assert not path.exists()
    assert (_read(blobs, ref), _read(blobs, other)) == (b"weights", b"other weights")
    assert list((tmp_path / "blobs" / "new").iterdir()) == []


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_link_is_never_moved_in(blobs: Blobs, tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    """What stays under another name is copied, so that a write to that leaves the blob as it is; only the link goes."""
    kept, path = tmp_path / "kept", tmp_path / "weights"
    kept.write_bytes(b"weights")
    link(path, kept)
    ref = blobs.put_file(path, move=True)
    kept.write_bytes(b"WEIGHTS")
    assert _read(blobs, ref) == b"weights"
    assert not blobs.path(ref).is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["blobs", "kept"]


def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    """What is not there raises BlobMissingError with its digest."""
    ref = BlobRef(sha256="0" * 64, num_bytes=1)
    assert not blobs.has(ref)
    for ask in (blobs.path, blobs.open):
        with pytest.raises(BlobMissingError, match="0" * 64):
            ask(ref)


def test_damage_is_found_and_mended_by_putting_again(blobs: Blobs) -> None:
    """Another size is noticed on opening, other bytes on verifying; putting the right bytes replaces both."""
    ref = blobs.put_bytes(b"weights")
    path = blobs.path(ref)
    path.chmod(0o644)
    path.write_bytes(b"weightz")
    blobs.open(ref).close()
    with pytest.raises(BlobDamagedError, match="its SHA-256 is"):
        blobs.open(ref, verify=True)
    assert _read(blobs, blobs.put_bytes(b"weights")) == b"weights"
    path.chmod(0o644)
    path.write_bytes(b"weight")
    with pytest.raises(BlobDamagedError, match="it has 6 bytes, expected 7"):
        blobs.open(ref)
    assert _read(blobs, blobs.put_bytes(b"weights")) == b"weights"
