"""Where in the segment files a position lies."""

from __future__ import annotations

import bisect

import msgspec

from ledger.batches import Place
from ledger.chain import chain_bytes
from ledger.errors import CorruptError
from ledger.events import SegmentOpened
from ledger.layout import Layout, segment_name
from ledger.lines import parse
from ledger.record import Cursor

__all__ = ["Places", "opened_segment", "start_of"]

_MARK_BYTES = 1 << 16


def opened_segment(layout: Layout, segment: int) -> SegmentOpened:
    """The first record of a segment other than the first; CorruptError if there is none."""
    with layout.segment(segment).open("rb") as stream:
        line = stream.readline()
    try:
        return msgspec.json.decode(parse(line).e, type=SegmentOpened)
    except msgspec.DecodeError as error:
        raise CorruptError(segment_name(segment), 0, f"its first line cannot be read ({error})") from error


def start_of(layout: Layout, origin: str, segment: int) -> Place:
    """The place before the first record of `segment`."""
    if segment == 0:
        return Place(0, 0, 0, chain_bytes(Cursor.genesis(origin).chain))
    previous = opened_segment(layout, segment).previous
    try:
        chain = chain_bytes(previous.chain)
    except ValueError as error:
        raise CorruptError(segment_name(segment), 0, "it names a chain hash that is none") from error
    return Place(segment, 0, previous.first_position + previous.num_records, chain)


class Places:
    """Starts of segments, and marks inside the open one; all of them places between two batches."""

    def __init__(self, layout: Layout, origin: str) -> None:
        self._layout = layout
        self._origin = origin
        self._starts: dict[int, Place] = {}
        self._marks: list[Place] = []

    def note(self, place: Place) -> None:
        """Remember `place`, which has been reached in the highest segment, if it is far from the last one."""
        marks = self._marks
        if not marks or marks[-1].segment != place.segment:
            self._marks = [place]
        elif place.offset - marks[-1].offset >= _MARK_BYTES:
            marks.append(place)

    def start(self, segment: int) -> Place:
        """The place before the first record of `segment`."""
        found = self._starts.get(segment)
        if found is None:
            found = self._starts[segment] = start_of(self._layout, self._origin, segment)
        return found

    def before(self, position: int, highest: int) -> Place:
        """A place at or before `position`, not far from it; `highest` is the number of the highest segment."""
        marks = self._marks
        if marks and marks[0].position <= position:
            return marks[bisect.bisect_right(marks, position, key=lambda place: place.position) - 1]
        segment = bisect.bisect_right(range(highest + 1), position, key=lambda number: self.start(number).position) - 1
        return self.start(segment)
