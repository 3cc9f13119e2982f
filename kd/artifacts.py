"""Things named by digest: what one stage hands to the next.

An artifact is a set of named files, each a blob of the ledger. Its digest is a function of kind, paths and contents alone,
so equal work gives equal digests on any machine and at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from attrs import field, frozen, validators

from ledger.record import BlobRef

__all__ = ["Artifact", "FileRef", "artifact_of", "find_artifact"]

_PATH = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"


@frozen(kw_only=True)
class FileRef:
    """One file of an artifact: its relative path and its bytes."""

    path: str = field(validator=validators.matches_re(_PATH))
    blob: BlobRef


@frozen(kw_only=True)
class Artifact:
    """A named set of files, in order of path."""

    kind: str = field(validator=validators.matches_re(r"[a-z][a-z0-9_.-]*"))
    """`dataset`, `signal`, `teacher`, `student`, `untrained_student`, `export`, `package`, `measurements` …"""
    files: tuple[FileRef, ...] = field(validator=validators.min_len(1))

    @files.validator
    def _check_files(self, _attribute: object, files: tuple[FileRef, ...]) -> None:
        paths = [file.path for file in files]
        if paths != sorted(set(paths)):
            raise ValueError(f"Files of a {self.kind} artifact must be sorted by path and distinct, got {paths}.")

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of kind, paths, contents and sizes, as 64 hex digits."""
        rows = [[file.path, file.blob.sha256, file.blob.num_bytes] for file in self.files]
        text = json.dumps(["kd.artifact/1", self.kind, rows], separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def num_bytes(self) -> int:
        return sum(file.blob.num_bytes for file in self.files)

    def file(self, path: str) -> BlobRef:
        """The blob of the file at `path`; KeyError if the artifact has none."""
        for file in self.files:
            if file.path == path:
                return file.blob
        raise KeyError(path)


def find_artifact(artifacts: Iterable[Artifact], kind: str) -> Artifact | None:
    """The first artifact of `kind`, or None."""
    return next((artifact for artifact in artifacts if artifact.kind == kind), None)


def artifact_of(artifacts: Iterable[Artifact], kind: str) -> Artifact:
    """The first artifact of `kind`; a missing one is a fault of the pipeline."""
    found = find_artifact(artifacts, kind)
    assert found is not None, f"no artifact of kind {kind!r} among the inputs"
    return found
