"""Where everything lies in a ledger's folder.

LEDGER.json   {"format":1,"origin":…,"created_ms":…,"vkey":…|null}: created last, equal to record 0
lock          what writers lock; empty, or one line "io-error OFFSET ERRNO MS BOOT_ID" after a failed sync
seg/          00000000.jsonl …; all but the highest are sealed and read-only
blobs/        sha256/ab/<64 hex>, and new/ for blobs under construction
own/          <run>.lock, held by the process that owns a run; tree.lock, held by the one that signs; index.lock
tree_head     the latest signed note over the records
tile/         the Merkle tree as tlog-tiles; can be made again
index.sqlite  places in the segments and states of projections; can be thrown away
quarantine/   bytes that a dead writer left behind the last complete batch
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from attrs import frozen

from ledger.disk import check_size, move_file, sync_path
from ledger.errors import FormatVersionError, NotALedgerError, ProofError, TamperedError
from ledger.events import FORMAT
from ledger.tree_head import TreeHead, parse_note

__all__ = ["Identity", "Layout", "segment_name"]

_SEGMENT = re.compile(r"([0-9]{8})\.jsonl")


@frozen(kw_only=True)
class Identity:
    """What `LEDGER.json` says."""

    origin: str
    created_ms: int
    vkey: str | None = None
    """The key that may sign from the start."""

    def to_json(self) -> str:
        value = {"format": FORMAT, "origin": self.origin, "created_ms": self.created_ms, "vkey": self.vkey}
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def segment_name(segment: int) -> str:
    """Name of the file of segment number `segment`."""
    return f"{segment:08d}.jsonl"


@frozen
class Layout:
    """The paths of the ledger at `root`."""

    root: Path

    @property
    def identity(self) -> Path:
        return self.root / "LEDGER.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def segments(self) -> Path:
        return self.root / "seg"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def tree_head(self) -> Path:
        return self.root / "tree_head"

    @property
    def tiles(self) -> Path:
        return self.root / "tile"

    @property
    def tree_lock(self) -> Path:
        return self.root / "own" / "tree.lock"

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"

    @property
    def index_lock(self) -> Path:
        return self.root / "own" / "index.lock"

    def owner_lock(self, run: str) -> Path:
        return self.root / "own" / f"{run}.lock"

    def segment(self, number: int) -> Path:
        return self.segments / segment_name(number)

    def read_identity(self) -> Identity:
        """What `LEDGER.json` says; NotALedgerError, FormatVersionError or TamperedError if it cannot be this program's."""
        try:
            value: Any = json.loads(self.identity.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotALedgerError(
                f"{self.root} is not a ledger: it has no LEDGER.json. Give the folder of a ledger, or create one."
            ) from error
        except ValueError as error:
            raise TamperedError(f"{self.identity} is not JSON") from error
        found = cast(dict[str, Any], value) if isinstance(value, dict) else {}
        if not {"format", "origin", "created_ms", "vkey"} <= found.keys():
            raise TamperedError(f"{self.identity} lacks format, origin, created_ms or vkey")
        origin, created_ms, vkey = found["origin"], found["created_ms"], found["vkey"]
        if not (isinstance(origin, str) and isinstance(created_ms, int) and isinstance(vkey, str | None)):
            raise TamperedError(f"{self.identity} has an origin, created_ms or vkey of another type than was written")
        if found["format"] != FORMAT:
            raise FormatVersionError(
                f"{self.root} is a ledger of format {found['format']}, expected {FORMAT}: open it with a later version of this program."
            )
        return Identity(origin=origin, created_ms=created_ms, vkey=vkey)

    def read_note(self) -> str | None:
        """The latest signed note, as it stands there; None if there is none."""
        try:
            return self.tree_head.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def read_head(self, *, strict: bool = True) -> TreeHead | None:
        """What the latest signed note says, its signature not looked at; if it cannot be read, TamperedError or, unless `strict`, None."""
        note = self.read_note()
        try:
            return None if note is None else parse_note(note)
        except ProofError as error:
            if not strict:
                return None
            raise TamperedError(f"{self.tree_head} cannot be read: {error.reason}") from error

    def check_size(self, head: TreeHead | None, size: int) -> None:
        """TamperedError if fewer than the records that `head` signs are there."""
        if head is not None and size < head.size:
            raise TamperedError(f"it holds {size} records, but {head.size} were signed")

    def segment_numbers(self) -> list[int]:
        """Numbers of all segments, ascending; TamperedError if one is missing."""
        found = self.listed_segments()
        if found and found[-1] >= len(found):
            found = self.listed_segments()  # a segment and its successor may have come while the folder was listed
        for expected, number in enumerate(found):
            if number != expected:
                raise TamperedError(f"segment {segment_name(expected)} is missing")
        if not found:
            raise TamperedError(f"segment {segment_name(0)} is missing")
        return found

    def listed_segments(self) -> list[int]:
        """Numbers of the segments that are there, ascending."""
        return sorted(int(match[1]) for path in self.segments.glob("*.jsonl") if (match := _SEGMENT.fullmatch(path.name)))

    def place_file(self, target: Path, data: bytes) -> None:
        """Create `target` with `data`, at once and on the medium."""
        partial = target.with_name(f"{target.name}.tmp")
        partial.write_bytes(data)
        sync_path(partial)
        check_size(partial, len(data))
        move_file(partial, target)
        sync_path(target.parent)
