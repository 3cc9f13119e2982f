"""Text of blobs in pages of about 64 KiB, made safe; the digest of a blob of up to 1 MiB is checked before its first page is shown.

A page ends where a line ends if one does nearby, else behind a character; never within a secret, half of which nobody would know for one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import BinaryIO

from attrs import frozen
from textual.message import Message

from kd.views.safe_text import SafeText, safe_lines
from ledger.errors import BlobDamagedError, BlobMissingError
from ledger.record import BlobRef
from ledger.segments import FileStore
from tui.feed.secrets import bytes_without_secrets, cuts_a_secret
from tui.messages import BlobReady

__all__ = ["BLOB_PAGE_BYTES", "BlobPage", "BlobPages"]

BLOB_PAGE_BYTES = 64 * 1024
_CHECKED_BYTES = 1024 * 1024
_MAX_PAGES = 128
_MARGIN_BYTES = 16 * 1024
"""A page may end so much earlier; no secret is longer."""
_MAX_LINES, _STEP_BYTES = 32, 512


@frozen(kw_only=True)
class BlobPage:
    """A stretch of a blob."""

    ref: BlobRef
    number: int
    """From 0."""
    num_pages: int
    lines: tuple[SafeText, ...] = ()
    is_checked: bool = False
    """The whole blob's digest was found right."""
    problem: str | None = None
    """One sentence, if it cannot be shown."""


class BlobPages:
    """Pages of the blobs of one ledger; asking for one that is not here has it read, and BlobReady posted."""

    def __init__(self, store: FileStore, post: Callable[[Message], object]) -> None:
        self._store = store
        self._post = post
        self._pages: OrderedDict[tuple[BlobRef, int], BlobPage] = OrderedDict()
        self._wanted: list[tuple[BlobRef, int]] = []
        self._condition = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="blobs", daemon=True)
        self._thread.start()

    def page(self, ref: BlobRef, number: int = 0) -> BlobPage | None:
        """Page `number` of the blob; None if it is not here yet. A blob that is gone or altered gives a page with its problem."""
        with self._condition:
            found = self._pages.get((ref, number))
            if found is not None:
                self._pages.move_to_end((ref, number))
                return found
            if (ref, number) not in self._wanted:
                self._wanted.append((ref, number))
                self._condition.notify()
            return None

    def read(self, ref: BlobRef, number: int = 0) -> BlobPage:
        """The same at once, for a thread that may wait."""
        return _read(self._store, ref, number)

    def stop(self) -> None:
        """Read no more."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._wanted or self._is_stopping)
                if self._is_stopping:
                    return
                key = self._wanted.pop()
            page = _read(self._store, *key)
            with self._condition:
                self._pages[key] = page
                while len(self._pages) > _MAX_PAGES:
                    self._pages.popitem(last=False)
            self._post(BlobReady())


def _read(store: FileStore, ref: BlobRef, number: int) -> BlobPage:
    num_pages = max(-(-ref.num_bytes // BLOB_PAGE_BYTES), 1)
    try:
        with store.blobs.open(ref, verify=ref.num_bytes <= _CHECKED_BYTES) as stream:
            start = _cut(store, stream, number * BLOB_PAGE_BYTES) if number > 0 else 0
            end = _cut(store, stream, (number + 1) * BLOB_PAGE_BYTES) if number + 1 < num_pages else ref.num_bytes
            stream.seek(start)
            data = bytes_without_secrets(store, stream.read(end - start))
    except (BlobMissingError, BlobDamagedError, OSError) as error:
        return BlobPage(ref=ref, number=number, num_pages=num_pages, problem=f"{error} See: kd ledger fsck")
    except _NoCutError as error:
        return BlobPage(ref=ref, number=number, num_pages=num_pages, problem=str(error))
    return BlobPage(ref=ref, number=number, num_pages=num_pages, lines=safe_lines(data), is_checked=ref.num_bytes <= _CHECKED_BYTES)


class _NoCutError(Exception):
    """Wherever a page could end there is a secret."""


def _cut(store: FileStore, stream: BinaryIO, boundary: int) -> int:
    """Where the page that should end at `boundary` ends."""
    start = boundary - 2 * _MARGIN_BYTES
    stream.seek(start)
    around = stream.read(3 * _MARGIN_BYTES)
    for place in _places(around, 2 * _MARGIN_BYTES):
        if not cuts_a_secret(store, around[place - _MARGIN_BYTES : place], around[place : place + _MARGIN_BYTES]):
            return start + place
    raise _NoCutError(f"The text before byte {boundary:,} of the blob is full of secrets and is not shown.")


def _places(data: bytes, place: int) -> Iterator[int]:
    """Where a page may end, the best first: behind the last lines that end before `place`, then behind characters."""
    least, line = place - _MARGIN_BYTES, place
    for _ in range(_MAX_LINES):
        line = data.rfind(b"\n", least, line)
        if line < 0:
            break
        yield line + 1
    for behind in range(place, least, -_STEP_BYTES):
        yield next((at for at in range(behind, behind - 4, -1) if data[at] & 0xC0 != 0x80), behind)
