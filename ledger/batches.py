"""Complete, verified batches out of segment files, from a place on.

A reader stops behind the last complete batch: what follows may be half written. It never waits, never writes, and
hands out nothing whose position, chain hash and batch have not been verified.
"""

from __future__ import annotations

import errno
import fcntl
import os
from binascii import b2a_base64
from collections.abc import Callable
from hashlib import sha256
from types import TracebackType

import msgspec
from attrs import frozen

from ledger.chain import chain_bytes
from ledger.errors import CorruptError, TamperedError
from ledger.layout import Layout, segment_name
from ledger.lines import Envelope, parse, parse_lines
from ledger.settings import LINE_MAX_BYTES

__all__ = ["BatchReader", "Learn", "Lines", "Place", "Scanned", "Vouch", "complete_batches", "scan_batches"]

Lines = list[tuple[bytes, Envelope]]

_SEALED = "ledger.segment_sealed/1"
_NUM_SHORT_READS = 3
_SEALED_BYTES = _SEALED.encode()


class Place(msgspec.Struct, frozen=True, gc=False):
    """A byte of a segment file, with what lies before it; a struct, since every append makes one."""

    segment: int
    offset: int
    position: int
    chain: bytes


Learn = Callable[[Place, Lines], None]
"""Told of verified lines of whole batches, and of the place they stand at."""
Vouch = Callable[[int, Place], bool]
"""Whether all bytes of an open segment file are known to be those that were sealed; asked where reading it begins."""


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
            if envelope.y == _SEALED and offset + len(line) + 1 != end:
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


def complete_batches(data: bytes, place: Place, *, is_vouched: bool = False) -> tuple[Lines, Place] | None:
    """The complete batches of `data`, which was read at `place`, and the place behind them, in the shortest time.

    None where there is none or anything is unusual: `scan_batches` says what. If the bytes are vouched for, only the
    first line's link is verified, as it ties them to what was read before.
    """
    lines = data.split(b"\n")
    lines.pop()
    try:
        if lines:
            index, size = parse(lines[-1]).b
            if index < size:  # the next chunk begins with this batch
                del lines[-index:]
        num_bytes = sum(map(len, lines)) + len(lines)
        envelopes = parse_lines(memoryview(data)[:num_bytes])
    except (ValueError, msgspec.DecodeError):
        return None
    if not lines or not _is_linked(lines[:1] if is_vouched else lines, place.chain):
        return None
    is_in_order = _is_framed if is_vouched else _is_in_order
    if not is_in_order(lines, envelopes, place.position):
        return None
    if 0 <= data.find(_SEALED_BYTES, 0, num_bytes) < num_bytes - len(lines[-1]):
        return None
    if envelopes[-1].y == _SEALED and num_bytes < len(data):
        return None
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
    if len(envelopes) != num_lines or max(map(len, lines)) > LINE_MAX_BYTES:
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


def _is_framed(lines: list[bytes], envelopes: list[Envelope], position: int) -> bool:
    """Whether the lines begin and end as whole batches from `position` on do."""
    first, last = envelopes[0], envelopes[-1]
    ends = (first.q, first.b[0], last.q, last.b[0])
    return len(envelopes) == len(lines) and ends == (position, 1, position + len(lines) - 1, last.b[1])


def _misfit(line: bytes, envelope: Envelope, position: int, index: int, size: int) -> str:
    if len(line) > LINE_MAX_BYTES:
        return f"it has {len(line)} bytes, expected at most {LINE_MAX_BYTES}"
    if envelope.q != position:
        return f"it says position {envelope.q}, expected {position}"
    return f"it is line {envelope.b[0]} of a batch of {envelope.b[1]}, expected line {index} of {size}"


class BatchReader:
    """Follows the segment files from a place on."""

    def __init__(
        self,
        layout: Layout,
        place: Place,
        *,
        chunk_bytes: int,
        only_segment: bool = False,
        learn: Learn | None = None,
        vouch: Vouch | None = None,
    ) -> None:
        self._layout = layout
        self._chunk_bytes = chunk_bytes
        self._size = chunk_bytes
        self._only_segment = only_segment
        self._learn = learn
        self._vouch = vouch
        self._is_vouched = False
        self._file: int | None = None
        self._next = ""
        self._at_end = False
        self.place = place

    def read(self) -> Lines:
        """New lines of complete batches, about one chunk of one segment; nothing at the end.

        Raises CorruptError only after a second look under the lock, as a repair may race with reading.
        """
        try:
            return self.read_locked()
        except CorruptError:
            with self._layout.lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                return self.read_locked()

    def read_locked(self) -> Lines:
        """The same, for one who holds the lock."""
        while not self._at_end:
            size = self._size
            data = self._data(size)
            usual = complete_batches(data, self.place, is_vouched=self._is_vouched)
            if usual is not None:
                self._go_on(*usual)
                return usual[0]
            found = scan_batches(data, self.place)
            if found.complete:
                self._go_on(found.complete, found.good)
                return found.complete
            if found.damage is not None:
                raise found.damage
            if len(data) < size:
                if self._has_grown(len(data)):
                    continue
                return []
            self._size = 2 * size  # a batch is longer than a chunk, and so may be the next
        return []

    def end_segment(self) -> None:
        """Go on at the start of the next segment, which may not be there yet."""
        self.place = Place(self.place.segment + 1, 0, self.place.position, self.place.chain)
        self.close()

    def rest(self) -> bytes:
        """All bytes behind the last complete batch of the segment read from."""
        if self._open() is None:
            return b""
        assert self._file is not None
        return _read(self._file, max(os.fstat(self._file).st_size - self.place.offset, 0), self.place.offset)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _data(self, size: int) -> bytes:
        file = self._open()
        if file is None:
            return b""
        num_new = os.lseek(file, 0, os.SEEK_END) - self.place.offset
        if num_new < 0:
            found = self.place.offset + num_new
            raise TamperedError(f"{segment_name(self.place.segment)} has {found} bytes, but {self.place.offset} were read before")
        return _read(file, min(size, num_new), self.place.offset) if num_new else b""

    def _open(self) -> int | None:
        if self._file is None:
            self._next = os.fspath(self._layout.segment(self.place.segment + 1))
            try:
                self._file = os.open(self._layout.segment(self.place.segment), os.O_RDONLY)
            except FileNotFoundError as error:
                if self.place.offset or _exists(self._next):
                    raise TamperedError(f"segment {segment_name(self.place.segment)} is missing") from error
                return None
            self._is_vouched = self._vouch is not None and self._vouch(self._file, self.place)
        return self._file

    def _go_on(self, lines: Lines, good: Place) -> None:
        start, self.place = self.place, good
        if 4 * (good.offset - start.offset) < self._size:
            self._size = max(self._size // 2, self._chunk_bytes)
        if self._learn is not None:
            self._learn(start, lines)
        if lines[-1][1].y == _SEALED:
            self._at_end = self._only_segment
            self.end_segment()

    def _has_grown(self, num_seen: int) -> bool:
        """Whether there is more in the file after all; one that is not sealed cannot have a successor."""
        if self._file is None or not _exists(self._next):
            return False
        if os.fstat(self._file).st_size == self.place.offset + num_seen:
            raise TamperedError(f"segment {segment_name(self.place.segment)} ends without the record that seals it")
        return True


def _read(file: int, num_bytes: int, offset: int) -> bytes:
    """`num_bytes` from `offset` on, or what there is of them; OSError if the system gives fewer than the file has.

    A short read that was taken for the end of the file would make good records look like a torn tail.
    """
    data = os.pread(file, num_bytes, offset)
    for _ in range(_NUM_SHORT_READS):
        missing = min(num_bytes, os.fstat(file).st_size - offset) - len(data) if len(data) < num_bytes else 0
        if missing <= 0:
            return data
        data += os.pread(file, missing, offset + len(data))
    raise OSError(errno.EIO, f"reading from byte {offset} ended before the file did")


def _exists(path: str) -> bool:
    """Whether there is a file; asked at every idle look, where a Path would cost more than the question."""
    return os.access(path, os.F_OK)
