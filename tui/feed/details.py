"""What only one screen wants, made by a thread of its own: texts out of blobs, folds of other runs.

The newest wish comes first; what cannot be had is an `Absent` with one sentence.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar, cast

from attrs import frozen
from textual.message import Message

from ledger.errors import BlobMissingError, LedgerError
from ledger.events import LEDGER_STREAM, BlobReleased
from ledger.record import BlobRef
from ledger.segments import FileStore
from tui.feed.feed import Feed
from tui.feed.secrets import bytes_without_secrets
from tui.messages import DetailReady

__all__ = ["MAX_CHECKED_BYTES", "Absent", "Details", "read_blob"]

MAX_CHECKED_BYTES = 1 << 20
"""Blobs up to this size are held against their digest before they are shown."""
_MAX_KEPT = 256

T = TypeVar("T")


@frozen
class Absent:
    """Why something cannot be shown."""

    sentence: str


class Details:
    """Things made off the ledger by one thread, kept while they are among the last 256 that were wanted."""

    def __init__(self, feed: Feed, post: Callable[[Message], object]) -> None:
        self._feed = feed
        self._post = post
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._wishes: OrderedDict[Hashable, Callable[[FileStore], Any]] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def get(self, key: Hashable, make: Callable[[FileStore], T]) -> T | Absent | None:
        """What `make` gives, or why it cannot; None until it is there, which a `DetailReady` will say."""
        with self._changed:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast("T | Absent", self._kept[key])
            self._wishes[key] = make
            self._wishes.move_to_end(key)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="details", daemon=True)
                self._thread.start()
        return None

    def is_wanted(self, key: Hashable) -> bool:
        """Whether it is still to be made."""
        with self._changed:
            return key in self._wishes

    @property
    def is_idle(self) -> bool:
        """Nothing that was wanted is still to be made."""
        with self._changed:
            return not self._wishes

    def stop(self) -> None:
        """Make nothing more; the thread has ended on return."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._is_stopping and not self._wishes:
                    self._changed.wait()
                if self._is_stopping:
                    return
                key, make = next(reversed(self._wishes.items()))
            made = self._made(make)
            with self._changed:
                self._wishes.pop(key, None)
                self._kept[key] = made
                while len(self._kept) > _MAX_KEPT:
                    self._kept.popitem(last=False)
            self._post(DetailReady())

    def _made(self, make: Callable[[FileStore], Any]) -> Any:
        store = self._feed.store
        if store is None:
            return Absent("There is no ledger yet.")
        try:
            return make(store)
        except BlobMissingError as error:
            return Absent(_why_missing(store, error.sha256))
        except (LedgerError, OSError, ValueError) as error:
            return Absent(str(error))


def _why_missing(store: FileStore, sha256: str) -> str:
    """What became of a blob that is not there: released by someone, or lost."""
    with suppress(LedgerError, OSError):  # a ledger that is damaged or gone says so elsewhere
        for record in store.scan(streams=LEDGER_STREAM, names="ledger.blob_released"):
            if isinstance(record.event, BlobReleased) and record.event.sha256 == sha256:
                released = record.event
                return f"Blob {sha256[:12]}… was released at @{record.position:,} by {released.actor} for {released.reason}."
    return f"Blob {sha256[:12]}… is missing; kd ledger fsck says more."


def read_blob(store: FileStore, ref: BlobRef, *, is_stored: bool = False) -> bytes:
    """The bytes of a blob, up to 1 MiB checked against its digest; LedgerError if it is missing or damaged.

    Secrets are replaced, unless `is_stored` asks for the very bytes, in which places are counted.
    """
    with store.blobs.open(ref, verify=ref.num_bytes <= MAX_CHECKED_BYTES) as stream:
        data = stream.read()
    return data if is_stored else bytes_without_secrets(store, data)
