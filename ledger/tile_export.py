"""A ledger as a C2SP tlog-tiles folder, which any client of such logs can read and check.

`checkpoint` is the signed note and is written last; `tile/` holds the tiles, and `tile/entries/` the lines, 256 to a file,
each behind its length as a big-endian uint16.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ledger.errors import SetupError, TamperedError, write_error
from ledger.merkle import leaf_hashes
from ledger.segments import FileStore
from ledger.tiles import TILE_WIDTH, TileFolder, TileStack, tile_path
from ledger.tree_head import TreeHead
from ledger.tree_reading import covering_note

__all__ = ["export_tiles"]


def export_tiles(store: FileStore, out: str | os.PathLike[str]) -> TreeHead:
    """Write all that the latest head signs to the new folder `out`; a head is signed if there is none yet.

    Raises TamperedError, without a checkpoint in the folder, if the records are not those that were signed.
    """
    folder = Path(out)
    note, head = covering_note(store, 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SetupError(f"{folder} is not empty: give a new folder.")
        stack, tiles = TileStack(), TileFolder(folder / "tile", is_durable=False)
        lines = store.lines(0, head.size)
        while chunk := list(islice(lines, TILE_WIDTH)):
            _write_entries(folder / "tile" / tile_path("entries", stack.size // TILE_WIDTH, len(chunk)), chunk)
            tiles.write(stack.extend(leaf_hashes(chunk)))
        tiles.write(stack.partial())
        if (stack.size, stack.root()) != (head.size, head.root):
            raise TamperedError(f"the first {head.size} records do not have the root that was signed")
        (folder / "checkpoint").write_text(note, encoding="utf-8")
    except OSError as error:
        raise write_error(error, f"The export to {folder}") from error
    return head


def _write_entries(path: Path, lines: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(len(line).to_bytes(2) + line for line in lines))
