"""What the bytes of a segment hold: lines of complete batches, verified, and where the first damage is.

The careful way says what is wrong. The two short ways know only whether everything is as usual, and hand out the same
lines: for any bytes, and for bytes of a sealed segment that are vouched for.
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

import msgspec
from attrs import frozen

from ledger.chain import chain_bytes
from ledger.errors import CorruptError
from ledger.layout import segment_name
from ledger.lines import Envelope, parse, parse_lines
from ledger.settings import LINE_MAX_BYTES

__all__ = ["SEALED", "Lines", "Place", "Scanned", "complete_batches", "scan_batches", "sealed_lines", "sealed_texts"]

Lines = list[tuple[bytes, Envelope]]

SEALED = "ledger.segment_sealed/1"
"""What the last line of a full segment holds."""
_SEALED_BYTES = SEALED.encode()


class Place(msgspec.Struct, frozen=True, gc=False):
    """A byte of a segment file, with what lies before it; a struct, since every append makes one."""

    segment: int
    offset: int
    position: int
    chain: bytes


@frozen
class Scanned:
    """What a stretch of a segment file holds."""

    complete: Lines
    """Lines of complete batches."""
    unfinished: Lines
    """Verifying lines of one more batch."""
    good: Place
    """Behind the last complete batch."""
    damage: CorruptError | None
    """The first terminated line that does not verify, if there is one."""


def scan_batches(data: bytes, place: Place) -> Scanned:
    """What `data`, which was read at `place`, holds up to its last line feed."""
    segment, end = place.segment, place.offset + len(data)
    done: Lines = []
    batch: Lines = []
    position, chain, offset = place.position, place.chain, place.offset
    good_offset, good_position, good_chain = offset, position, chain
    size = index = 0
    damage: CorruptError | None = None
    for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
        link = sha256(chain + line[51:]).digest()
        try:
            if line[:51] != b'{"c":"' + b2a_base64(link, newline=False) + b'"':
                raise ValueError("its chain hash does not fit its bytes")
            envelope = parse(line)
            index += 1
            place_in_batch = envelope.b
            if index == 1:
                size = place_in_batch[1]
            if envelope.q != position or place_in_batch != (index, size) or len(line) > LINE_MAX_BYTES:
                raise ValueError(_misfit(line, envelope, position, index, size))
            if envelope.y == SEALED and offset + len(line) + 1 != end:
                raise ValueError("bytes follow it, although it seals the segment")
        except (ValueError, msgspec.DecodeError) as error:
            damage = CorruptError(segment_name(segment), offset, str(error), position)
            break
        batch.append((line, envelope))
        position, chain = position + 1, link
        offset += len(line) + 1
        if index == size:
            done += batch
            batch, index = [], 0
            good_offset, good_position, good_chain = offset, position, chain
    return Scanned(done, batch, Place(segment, good_offset, good_position, good_chain), damage)


def complete_batches(data: bytes, place: Place) -> tuple[Lines, Place] | None:
    """The complete batches of `data`, which was read at `place`, and the place behind them, in the shortest time.

    None where there is none or anything is unusual: `scan_batches` says what.
    """
    found = _parsed(data, whole_batches=True)
    if found is None:
        return None
    lines, envelopes, num_bytes = found
    if not _is_linked(lines, place.chain) or not _is_in_order(lines, envelopes, place.position):
        return None
    if 0 <= data.find(_SEALED_BYTES, 0, num_bytes) < num_bytes - len(lines[-1]):
        return None
    if envelopes[-1].y == SEALED and num_bytes < len(data):
        return None
    return _placed(lines, envelopes, num_bytes, place)


def sealed_lines(data: bytes, place: Place, *, whole_batches: bool) -> tuple[Lines, Place] | None:
    """The same for bytes that are vouched for, so that only the first line's link is verified: it ties them to what was before.

    Without `whole_batches` the last batch may go on in the next chunk, as it is known to be there.
    """
    found = _parsed(data, whole_batches=whole_batches)
    if found is None:
        return None
    lines, envelopes, num_bytes = found
    ends = (envelopes[0].q, envelopes[-1].q)
    if not _is_linked(lines[:1], place.chain) or ends != (place.position, place.position + len(lines) - 1):
        return None
    return _placed(lines, envelopes, num_bytes, place)


def sealed_texts(data: bytes, place: Place) -> tuple[list[bytes], Place, str] | None:
    """The same without what the lines say, in a third of the time; and the kind of the last one. A batch may go on in the next chunk."""
    lines = data.split(b"\n")
    lines.pop()
    if not lines or not _is_linked(lines[:1], place.chain):
        return None
    try:
        first, last = parse(lines[0]), parse(lines[-1])
    except (ValueError, msgspec.DecodeError):
        return None
    num_bytes = sum(map(len, lines)) + len(lines)
    end = Place(place.segment, place.offset + num_bytes, place.position + len(lines), chain_bytes(last.c))
    return (lines, end, last.y) if (first.q, last.q + 1) == (place.position, end.position) else None


def _parsed(data: bytes, *, whole_batches: bool) -> tuple[list[bytes], list[Envelope], int] | None:
    """The lines of `data`, what they say, and their bytes; None if there is none or one cannot be read."""
    lines = data.split(b"\n")
    lines.pop()
    try:
        if lines and whole_batches:
            index, size = parse(lines[-1]).b
            if index < size:  # the next chunk begins with this batch
                del lines[-index:]
        num_bytes = sum(map(len, lines)) + len(lines)
        envelopes = parse_lines(memoryview(data)[:num_bytes])
    except (ValueError, msgspec.DecodeError):
        return None
    return (lines, envelopes, num_bytes) if lines and len(lines) == len(envelopes) else None


def _placed(lines: list[bytes], envelopes: list[Envelope], num_bytes: int, place: Place) -> tuple[Lines, Place]:
    end = Place(place.segment, place.offset + num_bytes, place.position + len(lines), chain_bytes(envelopes[-1].c))
    return list(zip(lines, envelopes, strict=True)), end


def _is_linked(lines: list[bytes], chain: bytes) -> bool:
    """Whether every line states the chain hash that follows from the line before it."""
    for line in lines:
        chain = sha256(chain + line[51:]).digest()
        if line[:51] != b'{"c":"' + b2a_base64(chain, newline=False) + b'"':
            return False
    return True


def _is_in_order(lines: list[bytes], envelopes: list[Envelope], position: int) -> bool:
    """Whether the lines are whole batches at the positions from `position` on, none of them too long."""
    num_lines = len(lines)
    if max(map(len, lines)) > LINE_MAX_BYTES:
        return False
    if [each.q for each in envelopes] != list(range(position, position + num_lines)):
        return False
    places = [each.b for each in envelopes]
    first = 0
    while first < num_lines:
        index, size = places[first]
        if index != 1 or size < 1:
            return False
        if size > 1 and places[first : first + size] != [(each, size) for each in range(1, size + 1)]:
            return False
        first += size
    return True


def _misfit(line: bytes, envelope: Envelope, position: int, index: int, size: int) -> str:
    if len(line) > LINE_MAX_BYTES:
        return f"it has {len(line)} bytes, expected at most {LINE_MAX_BYTES}"
    if envelope.q != position:
        return f"it says position {envelope.q}, expected {position}"
    return f"it is line {envelope.b[0]} of a batch of {envelope.b[1]}, expected line {index} of {size}"
