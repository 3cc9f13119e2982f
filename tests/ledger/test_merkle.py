"""The Merkle tree is that of RFC 6962, and a proof holds for exactly what it was made for."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ProofError
from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)

_LINES = [b'{"q":%d}' % number for number in range(130)]


def _tree_hash(lines: list[bytes]) -> bytes:
    """The definition of RFC 6962, 2.1, word for word."""
    if not lines:
        return sha256(b"").digest()
    if len(lines) == 1:
        return sha256(b"\0" + lines[0]).digest()
    split = 1
    while split * 2 < len(lines):
        split *= 2
    return sha256(b"\1" + _tree_hash(lines[:split]) + _tree_hash(lines[split:])).digest()


def _hash_at(level: int, index: int) -> bytes:
    return _tree_hash(_LINES[index << level : (index + 1) << level])


def test_the_root_is_that_of_the_definition() -> None:
    """Leaf by leaf, in parts of any length and from stored hashes, the root is what RFC 6962 says."""
    for size in range(len(_LINES)):
        frontier = Frontier()
        for line in _LINES[: size // 2]:
            frontier.push(leaf_hash(line))
        frontier.extend_lines(_LINES[size // 2 : size])
        assert frontier.root() == root_at(size, _hash_at) == _tree_hash(_LINES[:size])
        assert frontier.size == size


def test_known_roots() -> None:
    """The empty tree and the tree of one empty leaf have the hashes that every implementation has."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_a_copy_grows_on_its_own() -> None:
    """What is added to a copy is not added to the original."""
    frontier = Frontier()
    frontier.extend_lines(_LINES[:3])
    twin = frontier.copy()
    twin.extend_lines(_LINES[3:9])
    assert (frontier.root(), twin.root()) == (_tree_hash(_LINES[:3]), _tree_hash(_LINES[:9]))


def test_every_record_of_every_small_tree_has_a_proof() -> None:
    """For each position in each size the path verifies, and is no longer than the tree is high."""
    for size in range(1, 35):
        root = root_at(size, _hash_at)
        for position in range(size):
            path = inclusion_path(position, size, _hash_at)
            verify_inclusion(leaf_hash(_LINES[position]), position, size, path, root)
            assert len(path) <= (size - 1).bit_length()


def test_every_small_prefix_has_a_proof() -> None:
    """For each pair of sizes the consistency path verifies."""
    for new in range(1, 35):
        for old in range(new + 1):
            path = consistency_path(old, new, _hash_at)
            verify_consistency(old, root_at(old, _hash_at), new, root_at(new, _hash_at), path)


@given(st.data())
def test_no_other_inclusion_proof_verifies(data: st.DataObject) -> None:
    """Another leaf, position, size or root, or a path with a hash changed, left out or added, is refused."""
    size = data.draw(st.integers(2, 120))
    position = data.draw(st.integers(0, size - 1))
    path, root, leaf = inclusion_path(position, size, _hash_at), root_at(size, _hash_at), leaf_hash(_LINES[position])
    at = data.draw(st.integers(0, len(path) - 1))
    other = bytes(32)
    wrong = [
        (other, position, size, path, root),
        (leaf, position, size, path, other),
        (leaf, (position + 1) % size, size, path, root),
        (leaf, size, size, path, root),
        (leaf, position, size, [*path[:at], other, *path[at + 1 :]], root),
        (leaf, position, size, path[:at] + path[at + 1 :], root),
        (leaf, position, size, [*path, other], root),
    ]
    for each in wrong:
        with pytest.raises(ProofError, match="does not hold"):
            verify_inclusion(*each)


@given(st.data())
def test_no_other_consistency_proof_verifies(data: st.DataObject) -> None:
    """Other roots, and a path with a hash changed, left out or added, are refused."""
    new = data.draw(st.integers(3, 120))
    old = data.draw(st.integers(1, new - 1))
    path, old_root, new_root = consistency_path(old, new, _hash_at), root_at(old, _hash_at), root_at(new, _hash_at)
    at = data.draw(st.integers(0, len(path) - 1))
    other = bytes(32)
    wrong = [
        (old, other, new, new_root, path),
        (old, old_root, new, other, path),
        (new, new_root, old, old_root, path),
        (old, old_root, new, new_root, [*path[:at], other, *path[at + 1 :]]),
        (old, old_root, new, new_root, path[:at] + path[at + 1 :]),
        (old, old_root, new, new_root, [*path, other]),
    ]
    for each in wrong:
        with pytest.raises(ProofError, match="does not hold"):
            verify_consistency(*each)


def test_equal_and_empty_trees_need_no_path() -> None:
    """The empty tree is a prefix of every tree and each tree of itself, under the right roots alone."""
    root = root_at(5, _hash_at)
    verify_consistency(0, EMPTY_ROOT, 5, root, [])
    verify_consistency(5, root, 5, root, [])
    for old_size, old_root in ((0, root), (5, EMPTY_ROOT)):
        with pytest.raises(ProofError, match="do not belong together"):
            verify_consistency(old_size, old_root, 5, root, [])
