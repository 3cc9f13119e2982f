"""The Merkle tree below a signed head, from the tiles if they serve, else from the lines.

Tiles are believed only as far as what follows from them is checked: a missing or garbled one costs time, never a wrong
answer. If the lines themselves do not lead to the signed root, the first one that was changed is named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from ledger.errors import KeyFileError, ProofError, ReadOnlyLedgerError, TamperedError, WriteError
from ledger.layout import Layout
from ledger.merkle import HashAt, inclusion_path, leaf_hashes, verify_inclusion
from ledger.segments import FileStore
from ledger.tiles import HASH_BYTES, TILE_WIDTH, MissingTileError, TileFolder, TileMemory, Tiles, TileStack
from ledger.tree_head import TreeHead

__all__ = ["covering_note", "first_changed", "with_tree"]

T = TypeVar("T")


def covering_note(store: FileStore, size: int) -> tuple[str, TreeHead]:
    """A note over at least `size` records and what it says, signed by a key that counts for them; signed now if there is none.

    Raises KeyFileError if nobody may sign here, ProofError if the note does not verify.
    """
    layout, end = Layout(store.path), store.end().position
    if size > end:
        raise ValueError(f"{store.path} has {end} records, expected at least {size}: ask for one of them.")
    note = layout.read_note()
    try:
        head = None if note is None else store.signed_history().ring.open_note(note)
    except ProofError:
        if not store.can_sign:
            raise
        head = None
    if head is None or head.size < size:
        try:
            note = store.sign_head() or layout.read_note()
        except ReadOnlyLedgerError as error:
            raise KeyFileError(f"No signed tree head covers {size} records of {store.path}: open it for writing, with its key.") from error
        head = None if note is None else store.signed_history().ring.open_note(note)
    if note is None or head is None or head.size < size:
        raise ValueError(
            f"Record {size - 1} only tells of a signature, so it is signed with the records that come after it: ask again then."
        )
    return note, head


def with_tree(store: FileStore, head: TreeHead, work: Callable[[HashAt], T]) -> T:
    """What `work` makes of the tree below `head`; it must raise ProofError if what it was given does not lead to the root.

    Raises TamperedError if the records do not.
    """
    tiles = TileFolder(Layout(store.path).tiles)
    try:
        return work(tiles.hash_at)
    except (MissingTileError, ProofError):
        memory = _tree_of_lines(store, head, tiles)
    with contextlib.suppress(OSError, WriteError):  # tiles only save time
        store.rebuild_tiles(head)
    return work(memory.hash_at)


def first_changed(leaves: Iterator[bytes], tiles: Tiles, head: TreeHead) -> int | None:
    """Position of the first of `leaves` that is not what was signed, if the tiles can prove it."""
    for index in range(-(-head.size // TILE_WIDTH)):
        chunk = list(islice(leaves, min(TILE_WIDTH, head.size - index * TILE_WIDTH)))
        try:
            data = tiles.read(0, index, len(chunk)).data[: len(chunk) * HASH_BYTES]
            unlike = next((at for at, leaf in enumerate(chunk) if data[at * HASH_BYTES : (at + 1) * HASH_BYTES] != leaf), None)
            if unlike is not None:
                position = index * TILE_WIDTH + unlike
                signed = data[unlike * HASH_BYTES : (unlike + 1) * HASH_BYTES]
                verify_inclusion(signed, position, head.size, inclusion_path(position, head.size, tiles.hash_at), head.root)
                return position
        except (MissingTileError, ProofError):
            return None
    return None


def _tree_of_lines(store: FileStore, head: TreeHead, tiles: TileFolder) -> TileMemory:
    memory = TileMemory()
    lines = store.lines(0, head.size)
    while chunk := list(islice(lines, TILE_WIDTH * 32)):
        memory.extend_lines(chunk)
    stack: TileStack = memory.stack
    if (stack.size, stack.root()) == (head.size, head.root):
        return memory
    tiles.forget()
    leaves = (leaf for line in store.lines(0, head.size) for leaf in leaf_hashes([line]))
    position = first_changed(leaves, tiles, head)
    where = "one of them was changed" if position is None else f"the one at position {position} was changed"
    raise TamperedError(f"the first {head.size} records do not have the root that was signed: {where}")
