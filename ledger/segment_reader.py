"""A handle's way through the segment files: from a place near what is wanted, and whole segments by their digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from ledger.batches import BatchReader
from ledger.layout import Layout
from ledger.lines import Envelope
from ledger.places import Places
from ledger.record import Cursor, Record
from ledger.scanning import Lines, Place
from ledger.sealed import SealedSegments
from ledger.selection import Selection
from ledger.settings import LedgerSettings
from ledger.tail import FileTail
from ledger.tree_head import TreeHead

__all__ = ["SegmentReader"]

T = TypeVar("T")

_BLOCK_BYTES = 1 << 18
_LOOK_BYTES = 1 << 16
_RECORD_BYTES = 1 << 10
"""What a few records are guessed to take, so that looking at them does not read a whole chunk."""
_MANY_RECORDS = 20_000
"""Linking so many lines takes as long as the digest of a whole segment."""


class SegmentReader:
    """Reads verified lines and remembers the places it has been to."""

    def __init__(self, layout: Layout, places: Places, settings: LedgerSettings, is_locked: Callable[[], bool]) -> None:
        self._layout = layout
        self._places = places
        self._settings = settings
        self._sealed = SealedSegments(layout)
        self._is_locked = is_locked

    def holds_lines(self, place: Place, head: TreeHead | None) -> bool:
        """Whether as many line feeds as `head` signs records are there; a moment's look, after which every line is still verified."""
        if head is None or head.size <= place.position:
            return True
        with self._layout.segment(place.segment).open("rb") as stream:
            stream.seek(place.offset)
            num_lines = sum(block.count(b"\n") for block in iter(partial(stream.read, _BLOCK_BYTES), b""))
        return place.position + num_lines >= head.size

    def walk(self, place: Place, start: int, stop: int, *, only_segment: bool = False, whole_batches: bool = False) -> Iterator[Lines]:
        """Chunks of lines at positions from `start` to before `stop`, read from `place` on."""
        return self._walk(BatchReader.read, place, start, stop, only_segment=only_segment, whole_batches=whole_batches)

    def walk_texts(self, place: Place, start: int, stop: int) -> Iterator[list[bytes]]:
        """The same without what the lines say."""
        return self._walk(BatchReader.read_texts, place, start, stop)

    def walk_segments(self, segments: Iterable[int], stop: int) -> Iterator[Lines]:
        """All lines of `segments` at positions before `stop`, batch by batch."""
        starts = [self._places.start(segment) for segment in segments]
        return (lines for place in starts for lines in self.walk(place, 0, stop, only_segment=True, whole_batches=True))

    def tail(self, after: Cursor, highest: int, selection: Selection, decode: Callable[[bytes, Envelope], Record]) -> FileTail:
        """What comes after `after`; `highest` is the number of the highest segment."""
        place = self._places.before(after.position, highest)
        return FileTail(self._layout, place, after, selection, decode, self._settings, self._places.learn, self._sealed.vouch)

    def _walk(
        self,
        read: Callable[[BatchReader], list[T]],
        place: Place,
        start: int,
        stop: int,
        *,
        only_segment: bool = False,
        whole_batches: bool = False,
    ) -> Iterator[list[T]]:
        num_records = stop - place.position
        with BatchReader(
            self._layout,
            place,
            chunk_bytes=min(self._settings.read_chunk_bytes, max(_LOOK_BYTES, _RECORD_BYTES * num_records)),
            only_segment=only_segment,
            learn=self._places.learn,
            whole_batches=whole_batches,
            vouch=self._sealed.vouch if num_records > _MANY_RECORDS else self._sealed.is_known,
            is_locked=self._is_locked,
        ) as reader:
            while reader.place.position < stop:
                first = reader.place.position
                lines = read(reader)
                if not lines:
                    return
                yield lines[max(start - first, 0) : stop - first]
