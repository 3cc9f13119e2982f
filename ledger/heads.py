"""Signing tree heads: the latest records become leaves, the old head is shown to be a prefix, and the new one is signed.

One process signs at a time, under `own/tree.lock`. The records are on the medium before the tiles, the tiles before
the note, the note before the record that tells of it; a crash between two of them leaves what the next signing goes on
from. Tiles that are missing or do not lead to the old root are made again from the lines.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import islice

from attrs import frozen

from ledger.errors import HeadConflictError, KeyFileError, ProofError, write_error
from ledger.events import KeyAdded, TreeHeadSigned
from ledger.head_timer import HeadTimer
from ledger.layout import Layout
from ledger.merkle import Frontier, leaf_hashes
from ledger.record import Appended, Cursor
from ledger.settings import LedgerSettings
from ledger.signed_history import SignedHistory
from ledger.tiles import MissingTileError, TileFolder, TileStack
from ledger.tree_head import Signer, TreeHead, open_note, parse_note, sign_note, to_base64

__all__ = ["Heads", "Records"]

_CHUNK_RECORDS = 8_192
_OWN_NAME = b'"y":"ledger.tree_head_signed/1"'


@frozen(kw_only=True)
class Records:
    """What signing needs of the store."""

    sync: Callable[[], Cursor]
    """Have everything on the medium; the place behind it."""
    lines: Callable[[int, int], Iterator[bytes]]
    """Verified lines from a position to before another."""
    append: Callable[[object], Appended]
    """Append one event to the ledger's own stream."""


class Heads:
    """The tree heads of one ledger, as one handle knows them."""

    def __init__(
        self, layout: Layout, origin: str, vkey: str | None, records: Records, signer: Signer | None, settings: LedgerSettings
    ) -> None:
        if signer is not None and signer.origin != origin:
            raise KeyFileError(f"The key is for {signer.origin}, but the ledger is {origin}: give the key that was made for it.")
        self.signer = signer
        self._layout = layout
        self._origin = origin
        self._records = records
        self._history = SignedHistory(layout, origin, vkey)
        self._reading = threading.Lock()
        self._tiles = TileFolder(layout.tiles)
        self._stack: TileStack | None = None
        self._locks: set[int] = set()
        self._timer = HeadTimer(
            self._sign_when_due, self._signed_size, max_records=settings.head_max_records, max_seconds=settings.head_max_seconds
        )

    def appended(self, size: int) -> None:
        """The ledger has `size` records now: they will be signed before long, if there is a key."""
        if self.signer is not None:
            self._timer.reached(size)

    def stop(self) -> None:
        """End what goes on by itself."""
        self._timer.stop()

    def history(self) -> SignedHistory:
        """Keys and recorded heads up to now."""
        with self._reading:
            self._history.refresh()
        return self._history

    def sign(self) -> str | None:
        """The note over all records, now in `tree_head`; None if nothing but signatures was appended since the last one.

        If that one is gone it is signed again, once the records were found to have its root.

        Raises HeadConflictError if what was signed before is no prefix, KeyFileError without a key that may sign, WriteError.
        """
        try:
            return self._sign()
        except OSError as error:
            self._stack = None
            raise write_error(error, f"The tree head of {self._layout.root}") from error

    def rebuild_tiles(self, head: TreeHead) -> None:
        """Make all tiles below `head` again; HeadConflictError, with nothing written, if the lines do not lead to its root."""
        try:
            with self._locked():
                self._stack = self._rebuilt(head)
        except OSError as error:
            raise write_error(error, f"The tiles of {self._layout.root}") from error

    def close_in_child(self) -> None:
        """Let go of the lock that the parent holds."""
        while self._locks:
            os.close(self._locks.pop())

    def _sign(self) -> str | None:
        with self._locked():
            signer = self._entitled()
            (old, is_placed), size = self._previous(), self._records.sync().position
            if old.size > size:
                raise HeadConflictError(f"{old.size} records were signed, but {size} are there")
            has_news = self._has_news(old.size, size)
            if is_placed and not has_news:
                return None
            stack = self._stack_of(old) if is_placed else self._rebuilt(old)
            self._stack = None
            if not has_news:
                return self._placed(old, signer)
            self._extend(stack, size)
            head = TreeHead(origin=self._origin, size=size, root=stack.root())
            note = self._placed(head, signer)
            self._records.append(TreeHeadSigned(size=size, root=to_base64(head.root), key_id=signer.key_id))
            self._stack = stack
            self._timer.signed(size)
            return note

    def _placed(self, head: TreeHead, signer: Signer) -> str:
        """The note that says `head`, which is in its place now."""
        note = sign_note(head, signer)
        self._layout.place_file(self._layout.tree_head, note.encode())
        return note

    def _sign_when_due(self) -> int | None:
        note = self.sign()
        return None if note is None else parse_note(note).size

    def _signed_size(self) -> int:
        head = self._layout.read_head()
        return 0 if head is None else head.size

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        self._layout.tree_lock.parent.mkdir(exist_ok=True)
        lock = os.open(self._layout.tree_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._locks.add(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            if lock in self._locks:
                self._locks.remove(lock)
                try:
                    fcntl.flock(lock, fcntl.LOCK_UN)  # also where closing fails
                finally:
                    os.close(lock)

    def _entitled(self) -> Signer:
        """The signer, if its key may sign now; the first key of a ledger without one is made known to it."""
        ring = self.history().ring
        names = " or ".join(key.key_id for key in ring.present)
        if ring.keys and not names:
            raise KeyFileError(
                f"All keys of {self._origin} were retired, expected one that may sign: what comes now must go to a new ledger."
            )
        if self.signer is None:
            raise KeyFileError(f"There is no key to sign with for {self._origin}, expected {names or 'one'}: open the ledger where it is.")
        if not ring.keys:
            self._records.append(KeyAdded(vkey=self.signer.vkey))
        elif self.signer.vkey not in {key.vkey for key in ring.present}:
            raise KeyFileError(f"Key {self.signer.key_id} may not sign for {self._origin}: sign with {names}, or rotate to it.")
        return self.signer

    def _previous(self) -> tuple[TreeHead, bool]:
        """The head over most records that is known, from the note or from the records, and whether its note is in its place.

        A note that is gone or garbled takes nothing away, as the records tell of the head, and are held against that.
        """
        note, history = self._layout.read_note(), self.history()
        recorded = history.latest()
        head = TreeHead(origin=self._origin, size=0, root=TileStack().root()) if recorded is None else recorded.head
        if note is None or self._layout.read_head(strict=False) is None:
            return head, recorded is None
        try:
            signed = open_note(note, history.ring.vkeys)
        except ProofError as error:
            raise HeadConflictError(f"tree_head does not verify, as {error.reason}") from error
        return (signed, True) if signed.size >= head.size else (head, False)

    def _has_news(self, start: int, stop: int) -> bool:
        return any(_OWN_NAME not in line for line in self._records.lines(start, stop))

    def _stack_of(self, head: TreeHead) -> TileStack:
        """The tree below `head`, from memory, from the tiles or from the lines."""
        stack = self._stack
        if stack is not None and (stack.size, stack.root()) == (head.size, head.root):
            return stack
        try:
            self._tiles.forget()
            stack = TileStack.of(head.size, self._tiles)
            if stack.root() == head.root:
                return stack
        except MissingTileError:
            pass
        return self._rebuilt(head)

    def _rebuilt(self, head: TreeHead) -> TileStack:
        frontier = Frontier()
        for lines in self._chunks(0, head.size):
            frontier.extend_lines(lines)
        if (frontier.size, frontier.root()) != (head.size, head.root):
            raise HeadConflictError(f"the first {head.size} records do not have the root that was signed")
        stack = TileStack()
        self._extend(stack, head.size)
        return stack

    def _extend(self, stack: TileStack, size: int) -> None:
        """Add the records up to `size` to `stack`, and have their tiles on the medium."""
        for lines in self._chunks(stack.size, size):
            self._tiles.write(stack.extend(leaf_hashes(lines)))
        self._tiles.write(stack.partial())

    def _chunks(self, start: int, stop: int) -> Iterator[list[bytes]]:
        lines = self._records.lines(start, stop)
        while chunk := list(islice(lines, _CHUNK_RECORDS)):
            yield chunk
