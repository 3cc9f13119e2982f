"""Every artifact that a run's events name, in order of its first mention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import fields, has

from kd.artifacts import Artifact
from kd.views.run_summary import ArtifactRow
from ledger.record import Record

__all__ = ["all_artifact_rows", "named_artifacts"]


def named_artifacts(records: Iterable[Record]) -> dict[str, tuple[str, Artifact]]:
    """Digest to the stage that first named the artifact, and the artifact: checkpoints and work in progress included."""
    found: dict[str, tuple[str, Artifact]] = {}
    for record in records:
        stage = record.stream.split("/")[2] if record.stream.count("/") == 2 else ""
        for artifact in _artifacts(record.event):
            found.setdefault(artifact.digest, (stage, artifact))
    return found


def all_artifact_rows(run: str, records: Iterable[Record]) -> tuple[ArtifactRow, ...]:
    """Rows of `kd artifacts list --all` for one run."""
    return tuple(
        ArtifactRow(kind=artifact.kind, stage=stage, run=run, digest=digest, num_bytes=artifact.num_bytes)
        for digest, (stage, artifact) in named_artifacts(records).items()
    )


def _artifacts(value: Any) -> Iterator[Artifact]:
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _artifacts(item)
    elif has(type(value)):
        for field in fields(type(value)):
            yield from _artifacts(getattr(value, field.name))
