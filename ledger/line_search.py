"""One line by its position, without reading what lies before it: segments by their first records, then bytes by halves.

The line is not verified here: whoever asks holds it against a signed root.
"""

from __future__ import annotations

import bisect
import os
import re

from attrs import frozen

from ledger.errors import CorruptError
from ledger.layout import Layout, segment_name
from ledger.places import start_of
from ledger.settings import LINE_MAX_BYTES

__all__ = ["FoundLine", "find_line"]

_HEAD = re.compile(rb'\{"c":"[A-Za-z0-9+/]{43}=","q":(0|[1-9][0-9]*),')
_WINDOW_BYTES = LINE_MAX_BYTES + 1


@frozen(kw_only=True)
class FoundLine:
    """A line and where it stands."""

    segment: int
    offset: int
    line: bytes


def find_line(layout: Layout, origin: str, position: int) -> FoundLine | None:
    """The line at `position`; None if there is none. CorruptError if the lines around it cannot be told apart."""
    numbers = layout.segment_numbers()
    segment = bisect.bisect_right(numbers, position, key=lambda number: start_of(layout, origin, number).position) - 1
    file = os.open(layout.segment(max(segment, 0)), os.O_RDONLY)
    try:
        low, high = 0, os.fstat(file).st_size
        while high - low > _WINDOW_BYTES:
            middle = (low + high) // 2
            start = _next_line(file, middle)
            if start is None or start >= high:
                high = middle
            elif _position(file, start, segment) <= position:
                low = start
            else:
                high = middle
        return _scan(file, low, position, segment)
    finally:
        os.close(file)


def _next_line(file: int, offset: int) -> int | None:
    """Offset of the first line that begins behind `offset`."""
    found = os.pread(file, _WINDOW_BYTES, offset).find(b"\n")
    return None if found < 0 else offset + found + 1


def _position(file: int, offset: int, segment: int) -> int:
    found = _HEAD.match(os.pread(file, 80, offset))
    if found is None:
        raise CorruptError(segment_name(segment), offset, "no line begins there")
    return int(found[1])


def _scan(file: int, offset: int, position: int, segment: int) -> FoundLine | None:
    """The line at `position`, looked for from the line at `offset` on."""
    while True:
        data = os.pread(file, 4 * _WINDOW_BYTES, offset)
        end = data.find(b"\n")
        start = 0
        while end >= 0:
            found = _HEAD.match(data, start)
            if found is None:
                raise CorruptError(segment_name(segment), offset + start, "no line begins there")
            if int(found[1]) >= position:
                is_it = int(found[1]) == position
                return FoundLine(segment=segment, offset=offset + start, line=data[start:end]) if is_it else None
            start = end + 1
            end = data.find(b"\n", start)
        if start == 0:
            return None
        offset += start
