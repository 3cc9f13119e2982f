"""Blobs: immutable files named by the SHA-256 of their bytes.

A blob is on disk, under its own digest and read-only, before `put_bytes` or `put_file` returns. Putting the same
bytes again stores nothing new.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ledger.disk import check_size, move_file, sync_path
from ledger.errors import BlobDamagedError, BlobMissingError, write_error
from ledger.record import BlobRef

__all__ = ["Blobs"]

_CHUNK_BYTES = 1 << 20
_HASHED_BYTES = 1 << 20
"""A blob up to this size that is put again is hashed where it lies, and replaced if it is damaged."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_bytes(self, data: bytes) -> BlobRef:
        """Store `data`; it is on disk on return."""
        ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data))
        if self._is_stored(ref):
            return ref

        def write(partial: Path) -> None:
            with partial.open("xb") as stream:
                stream.write(data)

        return self._place(ref, write)

    def put_file(self, path: Path, *, move: bool = False) -> BlobRef:
        """Store the file at `path`; with `move` it is renamed instead of copied where the file system allows.

        A link, or a file that has another name too, is copied, so that nobody can write into the blob.
        """
        ref = _digest(path)
        if self._is_stored(ref):
            if move:
                path.unlink()
            return ref
        if move and self._can_rename(path):
            return self._place(ref, lambda partial: path.rename(partial))
        self._place(ref, lambda partial: _copy(path, partial, ref))
        if move:
            path.unlink()
        return ref

    def open(self, ref: BlobRef, *, verify: bool = False) -> BinaryIO:
        """The blob opened for reading; `verify` hashes it first.

        Raises BlobMissingError, and BlobDamagedError if its size or, with `verify`, its digest is wrong.
        """
        path = self.path(ref)
        stream = path.open("rb")
        try:
            found = os.fstat(stream.fileno()).st_size
            if found != ref.num_bytes:
                raise BlobDamagedError(ref.sha256, f"it has {found} bytes, expected {ref.num_bytes}")
            if verify:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                if digest != ref.sha256:
                    raise BlobDamagedError(ref.sha256, f"its SHA-256 is {digest}")
                stream.seek(0)
        except BaseException:
            stream.close()
            raise
        return stream

    def read(self, ref: BlobRef) -> bytes:
        """All bytes of the blob, verified; raises as `open` does."""
        with self.open(ref, verify=True) as stream:
            return stream.read()

    def path(self, ref: BlobRef) -> Path:
        """The file that holds the blob; raises BlobMissingError if there is none."""
        path = self._path(ref.sha256)
        if not path.exists():
            raise BlobMissingError(ref.sha256)
        return path

    def has(self, ref: BlobRef) -> bool:
        """Whether the blob is here with its right size."""
        try:
            return self._path(ref.sha256).stat().st_size == ref.num_bytes
        except FileNotFoundError:
            return False

    def files(self) -> Iterator[Path]:
        """The files of all blobs, each named by its digest."""
        return (path for path in sorted(self._folder.glob("sha256/*/*")) if _DIGEST.fullmatch(path.name))

    def unfinished(self) -> Iterator[Path]:
        """Files of blobs that are being put, or that a dead process has begun to put."""
        return iter(sorted(self._folder.glob("new/*")))

    def _path(self, sha256: str) -> Path:
        return self._folder / "sha256" / sha256[:2] / sha256

    def _is_stored(self, ref: BlobRef) -> bool:
        path = self._path(ref.sha256)
        if not self.has(ref):
            return False
        try:
            with contextlib.suppress(PermissionError):
                os.utime(path)  # so that no collection takes it before an event names it
            sync_path(path.parent)  # whoever put it may have died before doing so
            sync_path(path.parent.parent)
            return self.has(ref) and (ref.num_bytes > _HASHED_BYTES or _digest(path) == ref)
        except FileNotFoundError:
            return False  # it was collected in this instant

    def _can_rename(self, path: Path) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_dev == self._folder.stat().st_dev

    def _place(self, ref: BlobRef, write: Callable[[Path], object]) -> BlobRef:
        """Bring bytes to `new/` by `write`, then under their digest: synced file, rename, synced folders."""
        target = self._path(ref.sha256)
        partial = self._folder / "new" / secrets.token_hex(16)
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            partial.chmod(0o444)
            sync_path(partial)
            check_size(partial, ref.num_bytes)
            move_file(partial, target)
            sync_path(target.parent)
            sync_path(target.parent.parent)  # another process may just have made the folder between
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise write_error(error, f"Blob {ref.sha256} of {ref.num_bytes} bytes") from error
            raise
        return ref


def _digest(path: Path) -> BlobRef:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return BlobRef(sha256=digest.hexdigest(), num_bytes=stream.tell())


def _copy(source: Path, target: Path, ref: BlobRef) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
    if digest.hexdigest() != ref.sha256:
        target.unlink()
        raise BlobDamagedError(ref.sha256, f"{source} changed while it was copied")
