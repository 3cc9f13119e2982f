"""Where in the segment files a position lies."""

from __future__ import annotations

import bisect
import threading
from typing import Protocol

import msgspec

from ledger.chain import HEAD_BYTES, chain_bytes, head, link
from ledger.errors import CorruptError
from ledger.events import SegmentOpened
from ledger.layout import Layout, segment_name
from ledger.lines import parse
from ledger.record import Cursor
from ledger.scanning import Lines, Place
from ledger.settings import LINE_MAX_BYTES

__all__ = ["MARK_RECORDS", "PlaceHints", "Places", "opened_segment", "stands", "start_of"]

MARK_RECORDS = 1000
"""Distance of the marks."""


def opened_segment(layout: Layout, segment: int) -> SegmentOpened:
    """The first record of a segment other than the first; CorruptError if there is none."""
    with layout.segment(segment).open("rb") as stream:
        line = stream.readline()
    try:
        return msgspec.json.decode(parse(line).e, type=SegmentOpened)
    except (msgspec.DecodeError, ValueError) as error:
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


class PlaceHints(Protocol):
    """Who may know places that a handle has not been to; what it says is held against the segment before it is used."""

    def place_before(self, position: int) -> Place | None:
        """The last known place at or before `position`."""
        ...

    def distrust(self) -> None:
        """A place was none of this ledger's."""
        ...


class Places:
    """Starts of segments, and a mark about every thousandth record that was read; all of them places between two batches."""

    def __init__(self, layout: Layout, origin: str) -> None:
        self.hints: PlaceHints | None = None
        self._layout = layout
        self._origin = origin
        self._starts: dict[int, Place] = {}
        self._marks: dict[int, Place] = {}
        self._thousands: list[int] = []
        self._mutex = threading.Lock()

    def note(self, place: Place) -> None:
        """Remember `place`, which has been reached, if it is the first known of its thousand positions."""
        thousand = place.position // MARK_RECORDS
        known = self._marks.get(thousand)
        if known is not None and known.position <= place.position:
            return
        with self._mutex:
            if thousand not in self._marks:
                bisect.insort(self._thousands, thousand)
            elif self._marks[thousand].position <= place.position:
                return  # another thread was first
            self._marks[thousand] = place

    def learn(self, start: Place, lines: Lines) -> None:
        """Remember every thousandth position of lines at `start`, or the start of the next batch."""
        first, done, offset = start.position, 0, start.offset
        for thousand in range(first // MARK_RECORDS, (first + len(lines) - 1) // MARK_RECORDS + 1):
            known = self._marks.get(thousand)
            if known is not None and known.position <= max(thousand * MARK_RECORDS, first):
                continue
            index = max(thousand * MARK_RECORDS - first, done)
            while index < len(lines) and lines[index][1].b[0] > 1:
                index += 1
            if index == len(lines):
                return
            offset += sum(len(line) for line, _ in lines[done:index]) + index - done
            done = index
            chain = chain_bytes(lines[index - 1][1].c) if index else start.chain
            self.note(Place(start.segment, offset, first + index, chain))

    def marks(self) -> list[Place]:
        """All marks, in order."""
        with self._mutex:
            return [self._marks[thousand] for thousand in self._thousands]

    def start(self, segment: int) -> Place:
        """The place before the first record of `segment`."""
        found = self._starts.get(segment)
        if found is None:
            found = self._starts[segment] = start_of(self._layout, self._origin, segment)
        return found

    def before(self, position: int, highest: int) -> Place:
        """A place at or before `position`, not far from it; `highest` is the number of the highest segment."""
        mark = self._mark_before(position)
        if mark is not None and position - mark.position < 2 * MARK_RECORDS:
            return mark
        hint = self._hint_before(position)
        if hint is not None and (mark is None or mark.position < hint.position):
            self.note(hint)
            return hint
        segment = bisect.bisect_right(range(highest + 1), position, key=lambda number: self.start(number).position) - 1
        start = self.start(segment)
        return mark if mark is not None and mark.position > start.position else start

    def _mark_before(self, position: int) -> Place | None:
        with self._mutex:
            index = bisect.bisect_right(self._thousands, position // MARK_RECORDS)
            for thousand in reversed(self._thousands[max(index - 2, 0) : index]):
                if self._marks[thousand].position <= position:
                    return self._marks[thousand]
        return None

    def _hint_before(self, position: int) -> Place | None:
        """What the hints say, if a line stands there that follows from it."""
        if self.hints is None:
            return None
        hint = self.hints.place_before(position)
        if hint is not None and not stands(self._layout, hint):
            self.hints.distrust()
            return None
        return hint


def stands(layout: Layout, place: Place) -> bool:
    """Whether a batch begins at `place` whose first line has its position and follows from its chain hash."""
    try:
        with layout.segment(place.segment).open("rb") as stream:
            stream.seek(place.offset)
            line = stream.readline(LINE_MAX_BYTES + 1)
        envelope = parse(line)
    except (OSError, ValueError, msgspec.DecodeError):
        return False
    tail = line[HEAD_BYTES:-1]
    is_whole = line.endswith(b"\n") and line[:HEAD_BYTES] == head(link(place.chain, tail))
    return is_whole and envelope.q == place.position and envelope.b[0] == 1
