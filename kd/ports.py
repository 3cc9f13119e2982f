"""What the runner lends to an executor: blobs as files, a scratch folder, and things kept open between works."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import define, field

from kd.artifacts import Artifact, FileRef
from kd.errors import DigestMismatchError
from ledger.blobs import Blobs
from ledger.clock import Clock
from ledger.record import BlobRef
from ledger.redaction import Redactor
from ledger.store import Store

__all__ = ["Ports", "Resources"]

T = TypeVar("T")


class Resources:
    """Things that are costly to open, kept for the works of one stage and closed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[str, Any] = {}

    def get(self, key: str, opener: Callable[[], AbstractContextManager[T]]) -> T:
        """The resource under `key`, opened at its first use."""
        if key not in self._open:
            self._open[key] = self._stack.enter_context(opener())
        return cast(T, self._open[key])

    def close(self) -> None:
        """Close everything, last opened first."""
        self._open.clear()
        self._stack.close()


@define(kw_only=True)
class Ports:
    """What an executor may touch."""

    store: Store
    """Only for reading across runs (the cache of teacher replies); events go through `tell`."""
    blobs: Blobs
    scratch: Path
    """A folder of this run for files under construction; may vanish between works."""
    clock: Clock
    redactor: Redactor | None = None
    """What takes secrets out of texts before they are stored."""
    resources: Resources = field(factory=Resources)
    _checked: set[str] = field(factory=set, init=False)
    """Digests of the artifacts whose folders this process has checked."""

    def fetch(self, artifact: Artifact) -> Path:
        """A read-only folder with the artifact's files under their names; every byte is checked against its digest."""
        folder = self.scratch / "artifacts" / artifact.digest
        if artifact.digest not in self._checked or not folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a dead owner left is not believed
            partial = folder.with_name(f"{folder.name}.{os.getpid()}")
            shutil.rmtree(partial, ignore_errors=True)
            for file in artifact.files:
                target = partial / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._link(file.blob, target)
            partial.rename(folder)
            self._checked.add(artifact.digest)
        return folder

    def keep(self, kind: str, folder: Path) -> Artifact:
        """Store all files below `folder` as an artifact of `kind`; the files are moved into the ledger."""
        files = [FileRef(path=path.relative_to(folder).as_posix(), blob=self.blobs.put_file(path, move=True)) for path in _files(folder)]
        return Artifact(kind=kind, files=tuple(sorted(files, key=lambda file: file.path)))

    def keep_bytes(self, data: bytes) -> BlobRef:
        """Store `data` as a blob, as it is: numbers, weights and what is derived from them."""
        return self.blobs.put_bytes(data)

    def keep_text(self, data: bytes) -> BlobRef:
        """Store `data`, which people or models wrote (JSON, lines of JSON or plain text), as a blob without secrets."""
        return self.blobs.put_bytes(self.redacted(data))

    def redacted(self, data: bytes) -> bytes:
        """`data` without secrets; what holds none comes back as it is."""
        return data if self.redactor is None else self.redactor.redact(data)[0]

    def has_secret(self, text: str) -> bool:
        """Whether a part of `text` would be replaced."""
        return self.redactor is not None and self.redactor.redact_text(text)[1] > 0

    def read_bytes(self, blob: BlobRef) -> bytes:
        """The bytes of `blob`, checked against its digest."""
        with self.blobs.open(blob, verify=True) as stream:
            return stream.read()

    def read_text(self, blob: BlobRef) -> bytes:
        """The same for a text, also without secrets that were not known when it was stored: what is made of it can be kept."""
        return self.redacted(self.read_bytes(blob))

    def new_folder(self, name: str) -> Path:
        """An empty folder below the scratch folder."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _link(self, blob: BlobRef, target: Path) -> None:
        source = self.blobs.path(blob)
        found = _sha256(source)
        if found != blob.sha256:
            raise DigestMismatchError(str(source), blob.sha256, found)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, target)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
