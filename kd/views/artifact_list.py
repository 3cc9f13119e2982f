"""Every artifact that a run's events name, in order of its first mention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import fields, frozen, has

from kd.artifacts import Artifact
from kd.views.run_summary import ArtifactRow
from ledger.record import Record

__all__ = ["NamedArtifact", "all_artifact_rows", "named_artifacts"]


@frozen(kw_only=True)
class NamedArtifact:
    """An artifact and the first record that names it."""

    artifact: Artifact
    stage: str
    """Empty for the run's own stream."""
    position: int


def named_artifacts(records: Iterable[Record]) -> dict[str, NamedArtifact]:
    """Every artifact by its digest, checkpoints and work in progress included."""
    found: dict[str, NamedArtifact] = {}
    for record in records:
        stage = record.stream.split("/")[2] if record.stream.count("/") == 2 else ""
        for artifact in _artifacts(record.event):
            if artifact.digest not in found:
                found[artifact.digest] = NamedArtifact(artifact=artifact, stage=stage, position=record.position)
    return found


def all_artifact_rows(run: str, records: Iterable[Record]) -> tuple[ArtifactRow, ...]:
    """Rows of `kd artifacts list --all` for one run."""
    return tuple(
        ArtifactRow(kind=named.artifact.kind, stage=named.stage, run=run, digest=digest, num_bytes=named.artifact.num_bytes)
        for digest, named in named_artifacts(records).items()
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
