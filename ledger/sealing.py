"""Sealing a full segment: on the medium, read-only, and described by what the next one says of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ledger.chain import chain_text
from ledger.events import SealedSegment
from ledger.scanning import Place

__all__ = ["seal"]


def seal(path: Path, start: Place, end: Place, sync: Callable[[int], None]) -> SealedSegment:
    """What the segment at `path`, whose records lie between `start` and `end`, holds for ever; may be repeated.

    Raises OSError, also that of `sync`, which is given the open file.
    """
    with path.open("rb") as stream:
        sync(stream.fileno())
        os.fchmod(stream.fileno(), 0o444)
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        num_bytes = stream.tell()
    return SealedSegment(
        first_position=start.position,
        num_records=end.position - start.position,
        num_bytes=num_bytes,
        sha256=sha256,
        chain=chain_text(end.chain),
    )
