"""`kd artifacts`: what stages hand over, listed and copied out."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Annotated

from attrs import asdict
from cyclopts import App, Parameter

from kd import api
from kd.artifacts import Artifact
from kd.cli.exit_codes import DONE
from kd.cli.options import JsonFlag, LedgerPath
from kd.cli.screen import print_document, print_line, print_table
from kd.errors import DigestMismatchError, UsageError
from kd.views.artifact_list import NamedArtifact, all_artifact_rows, named_artifacts
from kd.views.run_summary import HANDED_OVER, ArtifactRow, artifact_rows
from ledger.blobs import Blobs
from ledger.collection import collect_blobs

__all__ = ["APP", "collect_garbage", "find_artifact", "get_artifact", "list_artifacts"]

APP = App(name="artifacts", help="List what stages hand over, and copy it out of the ledger.")


@APP.command(name="list")
def list_artifacts(
    run: Annotated[str | None, Parameter(help="A run's id, the beginning of one, or `latest`; without it, all runs.")] = None,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Also checkpoints, measurements and work in progress.")] = False,
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """List artifacts. Equal configuration, seed, code and machine give equal digests."""
    opened = api.open(ledger, write=False)
    runs = opened.runs() if run is None else (opened.run(run),)
    rows = [asdict(row) for found in runs for row in _rows(found, everything=all_)]
    if json:
        print_document(rows)
    elif rows:
        print_table(rows, ("kind", "stage", "run", "digest", "num_bytes"))
    else:
        print_line("There are no artifacts yet.")
    return DONE


@APP.command(name="get")
def get_artifact(
    digest: Annotated[str, Parameter(help="The artifact's digest, or the unambiguous beginning of it.")],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="A folder that does not exist yet, or is empty.")],
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Copy an artifact's files into a folder, checking every byte against its digest."""
    opened = api.open(ledger, write=False)
    artifact = find_artifact(opened, digest).artifact
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{str(output)!r} exists and is no empty folder.", hint="Name another folder.")
    for file in artifact.files:
        target = output / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(opened.store.blobs, artifact, file.path, target)
    if json:
        print_document(
            {"kind": artifact.kind, "digest": artifact.digest, "folder": str(output), "files": [file.path for file in artifact.files]}
        )
    else:
        print_line(f"{artifact.kind} {artifact.digest[:12]}: {len(artifact.files)} files, {artifact.num_bytes} bytes in {output}")
    return DONE


@APP.command(name="gc")
def collect_garbage(
    *,
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="", help="Say what would go, and change nothing.")] = False,
    grace_hours: Annotated[float | None, Parameter(help="Leave what was stored or needed within so many hours; 24 if not given.")] = None,
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Remove blobs that no record needs: what dead processes left, and what was released. The removal is a record."""
    collected = collect_blobs(api.open(ledger, write=not dry_run).store, dry_run=dry_run, grace_hours=grace_hours)
    if json:
        print_document(asdict(collected))
    else:
        verb = "would go" if dry_run else "went"
        print_line(f"{collected.num_blobs} blobs of {collected.num_bytes} bytes {verb}.")
    return DONE


def _rows(run: api.Run, *, everything: bool) -> tuple[ArtifactRow, ...]:
    if everything:
        return all_artifact_rows(run.id, run.records())
    return tuple(row for row in artifact_rows(run.view()) if row.kind in HANDED_OVER)


def find_artifact(opened: api.Ledger, digest: str) -> NamedArtifact:
    """The artifact whose digest begins with `digest`; UsageError unless there is exactly one."""
    known = named_artifacts(opened.store.scan(streams="run/*"))
    found = [named for key, named in known.items() if key.startswith(digest)]
    if len(found) != 1:
        count = "no artifact" if not found else f"{len(found)} artifacts"
        raise UsageError(f"{digest!r} is the beginning of {count}, expected exactly one.", hint="See `kd artifacts list --all`.")
    return found[0]


def _copy(blobs: Blobs, artifact: Artifact, path: str, target: Path) -> None:
    blob = artifact.file(path)
    with blobs.open(blob) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    with target.open("rb") as copy:
        found = hashlib.file_digest(copy, "sha256").hexdigest()
    if found != blob.sha256:
        target.unlink()
        raise DigestMismatchError(f"{artifact.kind}/{path}", blob.sha256, found)
