"""What a ledger is made of: records and bytes by name and by segment, and what is remarkable among them."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from attrs import asdict, define, field, frozen

from ledger.batches import BatchReader
from ledger.blobs import Blobs
from ledger.codec import is_spilled, spilled
from ledger.disk import filesystem_type, lock_holder
from ledger.events import TreeHeadSigned
from ledger.layout import Layout, segment_name
from ledger.places import start_of
from ledger.scanning import Lines
from ledger.settings import LedgerSettings

__all__ = ["LedgerStats", "LongLine", "NameStats", "SegmentStats", "ledger_stats"]

_NUM_LONGEST = 5


@frozen(kw_only=True)
class NameStats:
    """The records of one event name."""

    name: str
    num_records: int
    num_bytes: int
    """Of their lines, line feeds included; spilled payloads are not in it."""


@frozen(kw_only=True)
class SegmentStats:
    """One segment file."""

    segment: str
    num_records: int
    num_bytes: int
    is_sealed: bool


@frozen(kw_only=True)
class LongLine:
    """One of the longest lines."""

    position: int
    name: str
    num_bytes: int


@frozen(kw_only=True)
class LedgerStats:
    """Everything that was counted, up to the last complete batch."""

    origin: str
    filesystem: str
    size: int
    """Number of records."""
    num_bytes: int
    """Of all lines, line feeds included."""
    num_streams: int
    num_batches: int
    names: tuple[NameStats, ...]
    """Most bytes first."""
    segments: tuple[SegmentStats, ...]
    longest: tuple[LongLine, ...]
    """The longest lines, longest first."""
    num_spilled: int
    """Payloads that lie in blobs."""
    num_spilled_bytes: int
    num_redactions: int
    num_repairs: int
    num_heads: int
    last_head_size: int | None
    """Number of records under the last signed tree head."""
    num_blobs: int
    num_blob_bytes: int
    num_quarantined: int
    """Files that repairs left in quarantine."""
    lock_holder: int | None
    """Process that holds the write lock just now, where the system says."""
    mark: str
    """What a failed sync left in the lock; empty if none failed."""

    def to_plain(self) -> dict[str, object]:
        """The numbers as JSON values."""
        return asdict(self)


def ledger_stats(path: str | os.PathLike[str]) -> LedgerStats:
    """Counts over the whole ledger at `path`, read and verified without writing anything.

    Raises NotALedgerError, FormatVersionError, CorruptError or TamperedError.
    """
    layout = Layout(Path(path))
    identity = layout.read_identity()
    tally = _Tally()
    for segment in layout.segment_numbers():
        start = start_of(layout, identity.origin, segment)
        with BatchReader(layout, start, chunk_bytes=LedgerSettings().read_chunk_bytes, only_segment=True) as reader:
            while lines := reader.read():
                tally.take(lines, segment)
    blobs = [each.stat().st_size for each in Blobs(layout.blobs).files()]
    return LedgerStats(
        origin=identity.origin,
        filesystem=filesystem_type(layout.root),
        size=tally.size,
        num_bytes=sum(tally.bytes_by_name.values()),
        num_streams=len(tally.streams),
        num_batches=tally.num_batches,
        names=tuple(
            NameStats(name=name, num_records=tally.records_by_name[name], num_bytes=num_bytes)
            for name, num_bytes in sorted(tally.bytes_by_name.items(), key=lambda row: (-row[1], row[0]))
        ),
        segments=tuple(_segments(layout, tally)),
        longest=tuple(LongLine(position=-place, name=name, num_bytes=size) for size, place, name in sorted(tally.longest, reverse=True)),
        num_spilled=tally.num_spilled,
        num_spilled_bytes=tally.num_spilled_bytes,
        num_redactions=tally.num_redactions,
        num_repairs=tally.records_by_name["ledger.repaired"],
        num_heads=tally.records_by_name["ledger.tree_head_signed"],
        last_head_size=tally.last_head_size,
        num_blobs=len(blobs),
        num_blob_bytes=sum(blobs),
        num_quarantined=len(list(layout.quarantine.glob("*"))),
        lock_holder=lock_holder(layout.lock),
        mark=layout.lock.read_text(errors="replace").partition("\n")[0] if layout.lock.exists() else "",
    )


@define
class _Tally:
    """What has been counted so far."""

    size: int = 0
    num_batches: int = 0
    streams: set[str] = field(factory=set)
    records_by_name: Counter[str] = field(factory=Counter)
    bytes_by_name: Counter[str] = field(factory=Counter)
    records_by_segment: Counter[int] = field(factory=Counter)
    bytes_by_segment: Counter[int] = field(factory=Counter)
    longest: list[tuple[int, int, str]] = field(factory=list)
    """A heap of the size, negated position and name of the longest lines, the shortest of them first."""
    num_spilled: int = 0
    num_spilled_bytes: int = 0
    num_redactions: int = 0
    last_head_size: int | None = None

    def take(self, lines: Lines, segment: int) -> None:
        for line, envelope in lines:
            name, num_bytes = envelope.name, len(line) + 1
            self.records_by_name[name] += 1
            self.bytes_by_name[name] += num_bytes
            self.bytes_by_segment[segment] += num_bytes
            self.num_batches += envelope.b[0] == 1
            self.streams.add(envelope.s)
            if len(self.longest) < _NUM_LONGEST:
                heapq.heappush(self.longest, (num_bytes, -envelope.q, name))
            elif num_bytes > self.longest[0][0]:
                heapq.heapreplace(self.longest, (num_bytes, -envelope.q, name))
            if envelope.m is not None and envelope.m.r is not None:
                self.num_redactions += envelope.m.r
            if is_spilled(envelope.e):
                self.num_spilled += 1
                self.num_spilled_bytes += spilled(envelope.e).num_bytes
            elif name == "ledger.tree_head_signed":
                self.last_head_size = msgspec.json.decode(envelope.e, type=TreeHeadSigned).size
        self.size += len(lines)
        self.records_by_segment[segment] += len(lines)


def _segments(layout: Layout, tally: _Tally) -> Iterator[SegmentStats]:
    numbers = layout.segment_numbers()
    for number in numbers:
        yield SegmentStats(
            segment=segment_name(number),
            num_records=tally.records_by_segment[number],
            num_bytes=tally.bytes_by_segment[number],
            is_sealed=number != numbers[-1],
        )
