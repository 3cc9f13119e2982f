"""Examining a ledger as it lies on disk, and putting right what can be put right.

`quick`  the open segment and how it is linked to the one before
`full`   every line, segment digest and named blob
`deep`   the same, with every blob hashed, every payload read by the strict path, JSON keys compared, and stored
         states of projections folded again

Nothing is changed unless a repair is asked for; a repair moves bytes to quarantine and records that it did.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import evolve as replace

from ledger.blobs import Blobs
from ledger.chain import chain_bytes, chain_text
from ledger.clock import SystemClock
from ledger.codec import Codec
from ledger.collection import Needs
from ledger.disk import Disk
from ledger.errors import BlobDamagedError, BlobMissingError, CorruptError, IntegrityError, WriteError
from ledger.examination import Examination
from ledger.findings import Depth, Finding, FsckReport, finding, worst_first
from ledger.head_examination import HeadExamination, Trust
from ledger.index_check import index_findings
from ledger.inventory import find_identity, find_segments
from ledger.layout import Identity, Layout, segment_name
from ledger.mark_repair import repair_mark
from ledger.opening import open_ledger
from ledger.places import opened_segment, start_of
from ledger.projection import Projection
from ledger.record import BlobRef, Cursor
from ledger.recovery import judge, num_records_lost
from ledger.registry import Registry
from ledger.scanning import Place
from ledger.segment_writer import SegmentWriter
from ledger.settings import LedgerSettings
from ledger.tree_head import to_base64

__all__ = ["check_ledger"]

_PIECE_BYTES = 524_288
_LONGEST_BATCH_BYTES = 1 << 24


def check_ledger(
    path: str | os.PathLike[str],
    depth: Depth = "full",
    *,
    registry: Registry | None = None,
    repair: bool = False,
    accept_loss: int | None = None,
    trust: Trust | None = None,
    projections: Sequence[Projection[Any]] = (),
) -> FsckReport:
    """What is wrong with the ledger at `path`; with a `registry` its events are decoded too.

    `repair` moves a torn tail to quarantine, and with `accept_loss` also damage at the end of the last segment, if it
    costs exactly that many records; it makes tiles again that are not right. `trust` tells which keys and heads are known
    from elsewhere; `projections` are folded again by the deep examination. Raises NotALedgerError or FormatVersionError.
    """
    if accept_loss is not None and accept_loss < 0:
        raise ValueError(f"A loss of {accept_loss} records was accepted, expected 0 or more.")
    started = time.perf_counter()
    layout = Layout(Path(path))
    identity, mismatch = find_identity(layout)
    if repair and not mismatch:
        _repair(layout, identity, accept_loss)
    _, gaps = find_segments(layout)
    heads = HeadExamination(layout, identity, Trust() if trust is None else trust, with_lines=depth != "quick" and not gaps)
    segments, _ = find_segments(layout)  # behind the heads: a writer may be at work, and all that is signed must be seen
    check = _Check(layout, identity, depth, None if registry is None else Codec(registry), heads, segments)
    check.findings += [*mismatch, *gaps]
    check.accept_loss = accept_loss
    check.run()
    if repair and heads.head is not None and any(each.code == "tile_mismatch" for each in heads.findings):
        with contextlib.suppress(IntegrityError, WriteError), open_ledger(layout.root, registry=Registry(())) as store:
            store.rebuild_tiles(heads.head)
            return check_ledger(path, depth, registry=registry, projections=projections, trust=trust)
    found = [*check.findings, *check.examination.findings, *([] if gaps or not identity.origin else heads.findings)]
    if depth != "quick" and not any(each.severity == "error" for each in found):
        stored = projections if depth == "deep" else ()
        found += index_findings(layout, identity.origin, Registry(()) if registry is None else registry, stored)
    return FsckReport(
        depth=depth,
        size=check.examination.position,
        chain=chain_text(check.examination.chain),
        root=None if heads.root is None else to_base64(heads.root),
        head=None if heads.head is None else heads.head.size,
        num_segments=len(check.segments),
        findings=worst_first(found),
        seconds=time.perf_counter() - started,
    )


def _repair(layout: Layout, identity: Identity, accept_loss: int | None) -> None:
    """Put right what can be; what cannot is left for the findings."""
    settings, registry = LedgerSettings(), Registry(())
    try:
        if accept_loss is not None:
            blobs = Blobs(layout.blobs)
            writer = SegmentWriter(layout, identity.origin, Codec(registry), blobs, settings, SystemClock(), Disk(), write=True)
            try:
                writer.drop_damage(accept_loss)
            finally:
                writer.syncer.stop()
                writer.close()
        repair_mark(layout, identity.origin, Disk())
        open_ledger(layout.root, registry=registry).close()
    except (IntegrityError, WriteError):
        pass


class _Check:
    """One examination from its first to its last file."""

    def __init__(
        self, layout: Layout, identity: Identity, depth: Depth, codec: Codec | None, heads: HeadExamination, segments: list[int]
    ) -> None:
        self.findings: list[Finding] = []
        self.segments = segments
        self.accept_loss: int | None = None
        self._layout = layout
        self._identity = identity
        self._depth = depth
        self._heads = heads
        self._blobs = Blobs(layout.blobs)
        genesis = Cursor.genesis(identity.origin)
        self.examination = Examination(chain_bytes(genesis.chain), 0, blobs=self._blobs, codec=codec, is_deep=depth == "deep")
        self._codec = codec
        self._missing_summaries: set[BlobRef] = set()
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="ledger-fsck")
        self._digest: Future[tuple[int, str]] | None = None
        """Of the segment before, which another processor makes meanwhile."""

    def run(self) -> None:
        if self._layout.lock.exists() and self._layout.lock.stat().st_size:
            self._add("poisoned", f"A sync failed ({self._layout.lock.read_text(errors='replace').strip()}); nothing is appended.")
        elif not self._layout.lock.exists():
            self._add("lock_missing", "The file lock, which keeps writers apart, is missing; nothing is appended.")
        with self._hashing:
            for segment in self.segments[-1:] if self._depth == "quick" else self.segments:
                if segment > 0 and (self._depth == "quick" or segment - 1 not in self.segments):
                    self._go_to(segment)
                self._segment(segment)
        self._heads.finish(self.examination.position)
        if self._depth != "quick":
            self._named_blobs()
        self._notes()

    def _go_to(self, segment: int) -> None:
        """Believe what `segment` says of those before it."""
        with contextlib.suppress(CorruptError):  # its first line is reported as damaged
            place = start_of(self._layout, self._identity.origin, segment)
            self.examination.go_to(place.chain, place.position)

    def _segment(self, segment: int) -> None:
        data = self._layout.segment(segment).read_bytes()
        if segment > 0:
            self._link_to_previous(segment)
        self._digest = None if segment == self.segments[-1] else self._hashing.submit(_digest, data)
        examination, num_before = self.examination, len(self.examination.findings)
        good, is_whole = self._place(segment, 0), True
        end = data.rfind(b"\n") + 1
        if offset := self._take_clean(data):
            good = self._place(segment, offset)
        lines = data[offset:end].split(b"\n")[:-1]
        if self._depth != "quick":
            self._heads.take(lines)
        for line in lines:
            num_findings = len(examination.findings)
            examination.take(line, segment, offset)
            offset += len(line) + 1
            is_whole = is_whole and not any(each.severity == "error" for each in examination.findings[num_findings:])
            if is_whole and examination.is_between_batches:
                good = self._place(segment, offset)
        if segment != self.segments[-1]:
            examination.end_of_segment(segment, end)
            if data[end:]:
                self._add("line_damaged", f"{segment_name(segment)} does not end with a line feed.", segment, end)
        elif is_whole:
            self._tail(data[good.offset :], good)
        else:
            self._offer_loss(num_before, good, data[good.offset :])

    def _take_clean(self, data: bytes) -> int:
        """Take the first lines of `data`, with which nothing is wrong, and return the offset behind them.

        A piece at a time, so that all that is done with a line is done while it is in a processor's cache.
        """
        offset, num_bytes = 0, _PIECE_BYTES
        while self._depth == "full" and num_bytes <= _LONGEST_BATCH_BYTES:
            end = data.rfind(b"\n", offset, offset + num_bytes) + 1
            lines = self.examination.take_clean(data[offset:end]) if end > offset else []
            if lines:
                self._heads.take(lines)
                offset += sum(map(len, lines)) + len(lines)
            num_bytes = _PIECE_BYTES if lines else 4 * num_bytes
        return offset

    def _place(self, segment: int, offset: int) -> Place:
        return Place(segment, offset, self.examination.position, self.examination.chain)

    def _tail(self, rest: bytes, good: Place) -> None:
        try:
            torn = judge(rest, good)
        except CorruptError as error:
            message = f"The line at position {error.position} is damaged: {error.reason}."
            place: dict[str, Any] = {"segment": error.segment, "offset_bytes": error.offset, "position": error.position}
            self.examination.findings.append(finding("line_damaged", message, **place))
            self._offer_loss(len(self.examination.findings) - 1, good, rest)
            return
        if torn is not None:
            self._add("torn_tail", f"A dead writer left {len(torn.data)} bytes behind the last complete batch.", good.segment, good.offset)

    def _offer_loss(self, first: int, good: Place, rest: bytes) -> None:
        """Say at the first error, from finding number `first` on, what dropping `rest`, all behind `good`, costs; signed records stay."""
        findings, head = self.examination.findings, self._heads.head
        index = next(index for index in range(first, len(findings)) if findings[index].severity == "error")
        action = "restore the segment from a backup"
        if head is None or head.size <= good.position:
            lost = num_records_lost(rest)
            action += f", or repair it and accept the loss of {lost} record{'s' if lost != 1 else ''}"
            action += "" if self.accept_loss in (None, lost) else f", not of {self.accept_loss}"
        findings[index] = replace(findings[index], action=action)

    def _link_to_previous(self, segment: int) -> None:
        try:
            opened = opened_segment(self._layout, segment)
        except CorruptError:
            return  # reported with the lines
        if segment - 1 in self.segments:
            found = _digest(self._layout.segment(segment - 1).read_bytes()) if self._digest is None else self._digest.result()
            if found != (opened.previous.num_bytes, opened.previous.sha256):
                name = segment_name(segment - 1)
                self._add("segment_digest", f"{name} has {found[0]} bytes and SHA-256 {found[1]}, unlike when it was sealed.", segment - 1)
        if not self._blobs.has(opened.summary):
            self._missing_summaries.add(opened.summary)
            self._add("summary_missing", f"The summary of the segments before {segment_name(segment)} is not there.", segment)

    def _named_blobs(self) -> None:
        num_released = 0
        for ref, position in self.examination.named.items():
            if ref in self._missing_summaries:
                continue
            try:
                self._blobs.open(ref, verify=self._depth == "deep").close()
            except (BlobMissingError, BlobDamagedError) as error:
                if isinstance(error, BlobMissingError) and self._needs.is_released(ref.sha256):
                    num_released += 1
                    continue
                code = "blob_missing" if isinstance(error, BlobMissingError) else "blob_damaged"
                self.findings.append(finding(code, str(error), position=position))
        if num_released:
            self._add("released_blob", f"{num_released} blobs are gone after a record released them.")

    @cached_property
    def _needs(self) -> Needs:
        """What the lines say of blobs; read again only where a blob is missing."""
        needs = Needs(read_spilled=self._spilled)
        for segment in self.segments:
            needs.learn(self._layout.segment(segment).read_bytes().split(b"\n")[:-1])
        return needs

    def _spilled(self, ref: BlobRef) -> bytes:
        """A payload that lies in a blob, as far as it is there; what is not is reported with the blobs."""
        try:
            return self._blobs.read(ref)
        except (BlobMissingError, BlobDamagedError):
            return b""

    def _notes(self) -> None:
        examination = self.examination
        if examination.num_clock_steps:
            self._add("clock_stepped_back", f"The clock was set back {examination.num_clock_steps} times between records.")
        if examination.num_spilled:
            self._add("spilled_payload", f"{examination.num_spilled} payloads lie in blobs.")
        if self._layout.quarantine.exists() and (num_files := sum(1 for _ in self._layout.quarantine.iterdir())):
            self._add("quarantine_present", f"{num_files} repairs left bytes in quarantine.")
        if self._depth != "quick" and not any(each.code == "segment_missing" for each in self.findings):
            named = {ref.sha256 for ref in examination.named}
            num_unnamed = sum(path.name not in named for path in self._layout.blobs.glob("sha256/*/*"))
            if num_unnamed:
                self._add("unreferenced_blob", f"{num_unnamed} blobs are named by no record.")

    def _add(self, code: str, message: str, segment: int | None = None, offset: int | None = None) -> None:
        name = None if segment is None else segment_name(segment)
        self.findings.append(finding(code, message, segment=name, offset_bytes=offset))


def _digest(data: bytes) -> tuple[int, str]:
    """Length and SHA-256."""
    return len(data), hashlib.sha256(data).hexdigest()
