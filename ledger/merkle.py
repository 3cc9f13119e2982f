"""The Merkle tree of RFC 6962 over the lines of a ledger: roots, inclusion proofs, consistency proofs.

    leaf = SHA-256(0x00 || line)     node = SHA-256(0x01 || left || right)     empty tree = SHA-256("")

A line is hashed whole, with its chain hash and without its line feed. Everything here is a pure function of hashes; where
they are kept is the caller's matter: `hash_at(level, index)` is the hash of the perfect subtree of 2**level leaves that
is number `index` of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from ledger.errors import ProofError

__all__ = [
    "EMPTY_ROOT",
    "Frontier",
    "HashAt",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "parents",
    "root_at",
    "verify_consistency",
    "verify_inclusion",
]

HashAt = Callable[[int, int], bytes]
"""(level, index) to the hash of that perfect subtree."""

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(line: bytes) -> bytes:
    """Hash (32 bytes) of the leaf that `line` is."""
    return sha256(b"\0" + line).digest()


def leaf_hashes(lines: Iterable[bytes]) -> list[bytes]:
    """Hashes of the leaves that `lines` are."""
    return [sha256(b"\0" + line).digest() for line in lines]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash (32 bytes) of the node over `left` and `right`."""
    return sha256(b"\1" + left + right).digest()


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Hashes of the nodes over each two of `nodes`; a last one without a sibling is left out."""
    return [sha256(b"\1" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


class Frontier:
    """The right edge of a growing tree: enough to add leaves and to know the root, in space that grows with its height."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []
        """At each level the subtree that still lacks its right sibling."""

    def push(self, leaf: bytes) -> None:
        """Add one leaf, given by its hash."""
        self.extend([leaf])

    def extend_lines(self, lines: Iterable[bytes]) -> None:
        """Add the leaves that `lines` are."""
        self.extend(leaf_hashes(lines))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves, given by their hashes."""
        self.size += len(leaves)
        nodes, level = list(leaves), 0
        while nodes:
            if level == len(self._peaks):
                self._peaks.append(None)
            peak = self._peaks[level]
            if peak is not None:
                nodes.insert(0, peak)
            self._peaks[level] = nodes[-1] if len(nodes) % 2 else None
            nodes = parents(nodes)
            level += 1

    def root(self) -> bytes:
        """Root hash of all leaves so far."""
        root: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                root = peak if root is None else node_hash(peak, root)
        return EMPTY_ROOT if root is None else root

    def copy(self) -> Frontier:
        """The same frontier, growing on its own."""
        twin = Frontier()
        twin.size, twin._peaks = self.size, self._peaks.copy()
        return twin


def root_at(size: int, hash_at: HashAt) -> bytes:
    """Root hash of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range_root(0, size, hash_at)


def inclusion_path(position: int, size: int, hash_at: HashAt) -> list[bytes]:
    """The hashes that lead from the leaf at `position` to the root of the first `size` leaves, lowest first (RFC 6962, 2.1.1)."""
    if not 0 <= position < size:
        raise ValueError(f"Position {position} is not in a tree of {size} leaves.")
    path: list[bytes] = []
    first, last = 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        if position < middle:
            path.append(_range_root(middle, last, hash_at))
            last = middle
        else:
            path.append(_range_root(first, middle, hash_at))
            first = middle
    return path[::-1]


def verify_inclusion(leaf: bytes, position: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """ProofError unless `path` leads from the hash `leaf` at `position` to `root`, the root of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= position < size:
        raise ProofError(f"position {position} is not in a tree of {size} leaves")
    found = leaf
    for sibling, is_left in _siblings(position, size - 1, path):
        found = node_hash(sibling, found) if is_left else node_hash(found, sibling)
    if found != root:
        raise ProofError(f"the path from position {position} does not lead to the root of {size} leaves")


def consistency_path(old: int, new: int, hash_at: HashAt) -> list[bytes]:
    """The hashes that show the first `old` leaves to be a prefix of the first `new` leaves (RFC 6962, 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"A tree of {old} leaves is no prefix of one of {new}.")
    if old in (0, new):
        return []
    path: list[bytes] = []
    first, last, is_whole = 0, new, True
    while last != old:
        middle = first + _split(last - first)
        if old <= middle:
            path.append(_range_root(middle, last, hash_at))
            last = middle
        else:
            path.append(_range_root(first, middle, hash_at))
            first, is_whole = middle, False
    if not is_whole:
        path.append(_range_root(first, last, hash_at))
    return path[::-1]


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """ProofError unless `path` shows that the tree of `old_size` leaves is a prefix of that of `new_size` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {old_size} leaves is no prefix of one of {new_size}")
    if old_size in (0, new_size):
        if path or old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise ProofError(f"the roots of {old_size} and {new_size} leaves do not belong together")
        return
    hashes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not hashes:
        raise ProofError("the path is empty")
    index, last = old_size - 1, new_size - 1
    while index % 2:
        index, last = index >> 1, last >> 1
    old_found = new_found = hashes[0]
    for sibling, is_left in _siblings(index, last, hashes[1:]):
        if is_left:
            old_found, new_found = node_hash(sibling, old_found), node_hash(sibling, new_found)
        else:
            new_found = node_hash(new_found, sibling)
    if (old_found, new_found) != (old_root, new_root):
        raise ProofError(f"the tree of {old_size} leaves is not a prefix of that of {new_size}")


def _siblings(index: int, last: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of `path` and whether it stands left, on the way up from node `index` of `last` + 1; ProofError if it is not that long."""
    for each in path:
        if last == 0:
            raise ProofError("the path is too long")
        is_left = index % 2 == 1 or index == last
        yield each, is_left
        while is_left and index and index % 2 == 0:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    if last != 0:
        raise ProofError("the path is too short")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(first: int, last: int, hash_at: HashAt) -> bytes:
    """Hash over the leaves from `first` to before `last`; `first` is a multiple of every perfect subtree in between."""
    root: bytes | None = None
    end = last
    while end > first:
        level = ((end - first) & -(end - first)).bit_length() - 1
        end -= 1 << level
        peak = hash_at(level, end >> level)
        root = peak if root is None else node_hash(peak, root)
    assert root is not None, "a range has leaves"
    return root
