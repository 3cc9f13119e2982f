"""The ledger's own events, in the streams `ledger` and `own/<run>`; every one of them is a transition."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ledger.record import BlobRef
from ledger.registry import Entry

__all__ = [
    "FORMAT",
    "LEDGER_ENTRIES",
    "LEDGER_STREAM",
    "OWNER_STREAMS",
    "SOFTWARE",
    "BlobReleased",
    "BlobsCollected",
    "KeyAdded",
    "KeyRetired",
    "LedgerCreated",
    "LedgerRepaired",
    "OwnerClaimed",
    "OwnerReleased",
    "SealedSegment",
    "SegmentOpened",
    "SegmentSealed",
    "TreeHeadSigned",
    "created_event",
]

FORMAT = 1
"""Of files and lines."""
SOFTWARE = "kd-ledger 0.1"
LEDGER_STREAM = "ledger"
OWNER_STREAMS = "own/"
"""Prefix of the streams that count a run's owners."""


@frozen(kw_only=True)
class LedgerCreated:
    """Record 0."""

    origin: str
    format: int
    vkey: str | None
    filesystem: str
    is_unsafe_filesystem: bool
    software: str


@frozen(kw_only=True)
class SegmentSealed:
    """The last record of a full segment."""

    segment: int


@frozen(kw_only=True)
class SealedSegment:
    """What a sealed segment holds, for ever."""

    first_position: int
    num_records: int
    num_bytes: int
    sha256: str
    chain: str
    """Chain hash of its last record."""


@frozen(kw_only=True)
class SegmentOpened:
    """The first record of every segment but the first."""

    segment: int
    summary: BlobRef
    """Where every stream stands at the start of this segment."""
    previous: SealedSegment


@frozen(kw_only=True)
class LedgerRepaired:
    """Bytes behind the last complete batch were moved to quarantine."""

    segment: int
    offset_bytes: int
    num_bytes: int
    sha256: str
    reason: Literal["torn", "operator"]
    num_lost_records: int


@frozen(kw_only=True)
class TreeHeadSigned:
    """A signed note over the first `size` records was put into `tree_head`."""

    size: int
    root: str
    """Base64 of the Merkle root, as in the note."""
    key_id: str


@frozen(kw_only=True)
class KeyAdded:
    """From here on this key may sign, too."""

    vkey: str


@frozen(kw_only=True)
class KeyRetired:
    """What this key signed counts up to `valid_through_size` records, and no further."""

    vkey: str
    reason: Literal["rotated", "compromised"]
    valid_through_size: int


@frozen(kw_only=True)
class BlobReleased:
    """Records up to here need this blob no more."""

    sha256: str
    num_bytes: int
    reason: Literal["retention", "erasure"]
    actor: str


@frozen(kw_only=True)
class BlobsCollected:
    """Blobs that no record needed were removed."""

    num_blobs: int
    num_bytes: int
    list: tuple[str, ...]
    """Their digests."""


@frozen(kw_only=True)
class OwnerClaimed:
    """A process took a run; the version of the stream `own/<run>` behind this record is its fence."""

    run: str
    host: str
    pid: int
    boot_id: str
    actor: str


@frozen(kw_only=True)
class OwnerReleased:
    """The owner let go of a run."""

    run: str
    fence: int


LEDGER_ENTRIES = (
    Entry(name="ledger.created", cls=LedgerCreated),
    Entry(name="ledger.segment_sealed", cls=SegmentSealed),
    Entry(name="ledger.segment_opened", cls=SegmentOpened),
    Entry(name="ledger.repaired", cls=LedgerRepaired),
    Entry(name="ledger.tree_head_signed", cls=TreeHeadSigned),
    Entry(name="ledger.key_added", cls=KeyAdded),
    Entry(name="ledger.key_retired", cls=KeyRetired),
    Entry(name="ledger.blob_released", cls=BlobReleased),
    Entry(name="ledger.blobs_collected", cls=BlobsCollected),
    Entry(name="ledger.owner_claimed", cls=OwnerClaimed),
    Entry(name="ledger.owner_released", cls=OwnerReleased),
)


def created_event(origin: str, filesystem: str, *, vkey: str | None = None, is_unsafe_filesystem: bool = False) -> LedgerCreated:
    """Record 0 of a new ledger."""
    return LedgerCreated(
        origin=origin, format=FORMAT, vkey=vkey, filesystem=filesystem, is_unsafe_filesystem=is_unsafe_filesystem, software=SOFTWARE
    )
