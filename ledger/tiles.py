"""The Merkle tree as C2SP tlog-tiles: files of up to 256 hashes, from which any subtree's hash can be read.

Tile number `index` of level L holds the hashes of the perfect subtrees of 256**L leaves from number 256 * index on. A full
tile has 8,192 bytes and never changes; the rightmost of a level is partial, and has its width in its name. Tiles are made
from the lines and can be made again: whoever reads one checks what follows from it against a signed root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from ledger.disk import sync_path
from ledger.merkle import EMPTY_ROOT, leaf_hashes, node_hash, parents

__all__ = ["HASH_BYTES", "TILE_WIDTH", "MissingTileError", "Tile", "TileFolder", "TileMemory", "TileStack", "Tiles", "tile_path"]

HASH_BYTES = 32
TILE_WIDTH = 256
_TILE_BITS = 8


class MissingTileError(Exception):
    """A tile is not there, or not as long as it must be: make the tiles again."""


@frozen
class Tile:
    """`width` hashes of one level, behind each other."""

    level: int
    index: int
    data: bytes

    @property
    def width(self) -> int:
        return len(self.data) // HASH_BYTES

    @property
    def hashes(self) -> list[bytes]:
        return [self.data[start : start + HASH_BYTES] for start in range(0, len(self.data), HASH_BYTES)]


def tile_path(level: int | str, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile below `tile/`, `0/x001/x234/067`, with `.p/WIDTH` behind it if it is partial.

    Bundles of lines have the level `entries`.
    """
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    path = f"{level}/{'/'.join(reversed(groups))}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


class TileStack:
    """The rightmost tile of each level of a growing tree; it hands out tiles as they become full."""

    def __init__(self) -> None:
        self.size = 0
        self._edges: list[list[bytes]] = []

    @classmethod
    def of(cls, size: int, tiles: Tiles) -> TileStack:
        """The stack of the first `size` leaves, read from `tiles`; MissingTileError if one is not there."""
        stack = cls()
        stack.size = size
        while size:
            width = size % TILE_WIDTH
            size //= TILE_WIDTH
            stack._edges.append(tiles.read(len(stack._edges), size, width).hashes[:width] if width else [])
        return stack

    def extend(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Add leaves, given by their hashes; the tiles that are now full, each after those below it."""
        self.size += len(leaves)
        full: list[Tile] = []
        hashes, level, end = list(leaves), 0, self.size
        while hashes:
            if level == len(self._edges):
                self._edges.append([])
            edge = self._edges[level]
            edge += hashes
            num_full = len(edge) // TILE_WIDTH
            first = end // TILE_WIDTH - num_full
            tiles = [edge[start : start + TILE_WIDTH] for start in range(0, num_full * TILE_WIDTH, TILE_WIDTH)]
            self._edges[level] = edge[num_full * TILE_WIDTH :]
            full += [Tile(level, first + number, b"".join(tile)) for number, tile in enumerate(tiles)]
            hashes = _tops(tiles)
            level, end = level + 1, end // TILE_WIDTH
        return full

    def partial(self) -> list[Tile]:
        """The rightmost tile of each level that has one which is not full."""
        tiles: list[Tile] = []
        size = self.size
        for level, edge in enumerate(self._edges):
            size //= TILE_WIDTH
            if edge:
                tiles.append(Tile(level, size, b"".join(edge)))
        return tiles

    def root(self) -> bytes:
        """Root hash of all leaves so far."""
        root: bytes | None = None
        for edge in self._edges:
            nodes = edge
            while nodes:
                if len(nodes) % 2:
                    root = nodes[-1] if root is None else node_hash(nodes[-1], root)
                nodes = parents(nodes)
        return EMPTY_ROOT if root is None else root


class Tiles:
    """Where tiles are; a subclass says how one is read."""

    def read(self, level: int, index: int, width: int) -> Tile:
        """At least `width` hashes of a tile; MissingTileError if there are not so many."""
        raise NotImplementedError

    def hash_at(self, level: int, index: int) -> bytes:
        """Hash of the perfect subtree number `index` of 2**level leaves."""
        tile_level, height = divmod(level, _TILE_BITS)
        tile_index, start = divmod(index << height, TILE_WIDTH)
        end = start + (1 << height)
        data = self.read(tile_level, tile_index, end).data
        nodes = [data[at : at + HASH_BYTES] for at in range(start * HASH_BYTES, end * HASH_BYTES, HASH_BYTES)]
        while len(nodes) > 1:
            nodes = parents(nodes)
        return nodes[0]


class TileMemory(Tiles):
    """Tiles made from lines, for one who may not or need not write them."""

    def __init__(self) -> None:
        self.stack = TileStack()
        self._tiles: dict[tuple[int, int], Tile] = {}

    def extend_lines(self, lines: Iterable[bytes]) -> None:
        """Add the leaves that `lines` are."""
        for tile in [*self.stack.extend(leaf_hashes(lines)), *self.stack.partial()]:
            self._tiles[tile.level, tile.index] = tile

    def read(self, level: int, index: int, width: int) -> Tile:
        tile = self._tiles.get((level, index))
        if tile is None or tile.width < width:
            raise MissingTileError(f"tile {tile_path(level, index)} has no {width} hashes")
        return tile


class TileFolder(Tiles):
    """Tile files below one folder."""

    def __init__(self, root: Path, *, is_durable: bool = True) -> None:
        self._root = root
        self._is_durable = is_durable
        self._last: Tile | None = None

    def read(self, level: int, index: int, width: int) -> Tile:
        last = self._last
        if last is not None and (last.level, last.index) == (level, index) and last.width >= width:
            return last
        path = self._root / tile_path(level, index)
        for found in (TILE_WIDTH, *_partial_widths(path)):
            if found >= width:
                data = _read(self._root / tile_path(level, index, found))
                if len(data) == found * HASH_BYTES:
                    self._last = Tile(level, index, data)
                    return self._last
        raise MissingTileError(f"tile {tile_path(level, index)} has no {width} hashes")

    def forget(self) -> None:
        """Read what is looked at next from the files."""
        self._last = None

    def write(self, tiles: Iterable[Tile]) -> None:
        """Have `tiles` on the medium; narrower versions of them go."""
        folders: set[Path] = set()
        superseded: list[Path] = []
        for tile in tiles:
            path = self._root / tile_path(tile.level, tile.index, tile.width)
            _make_folder(path.parent, folders)
            partial = path.with_name(f"{path.name}.tmp")
            partial.write_bytes(tile.data)
            if self._is_durable:
                sync_path(partial)
            partial.rename(path)
            base = self._root / tile_path(tile.level, tile.index)
            superseded += [each for each in base.with_name(f"{base.name}.p").glob("*") if each != path]
        for folder in folders if self._is_durable else ():
            sync_path(folder)
        for path in superseded:
            path.unlink(missing_ok=True)
        self._last = None


def _partial_widths(path: Path) -> list[int]:
    """Widths of the partial versions of the tile at `path`, widest first."""
    names = [each.name for each in path.with_name(f"{path.name}.p").glob("[0-9]*")]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _tops(tiles: list[list[bytes]]) -> list[bytes]:
    """The hash over each of `tiles`, all of them full."""
    nodes = [each for tile in tiles for each in tile]
    for _ in range(_TILE_BITS):
        nodes = parents(nodes)
    return nodes


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _make_folder(folder: Path, made: set[Path]) -> None:
    """Have `folder`, and in `made` every folder whose entries may be new."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    made.add(folder)
    made.update(each.parent for each in missing)
