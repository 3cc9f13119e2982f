"""A verifier of C2SP notes, proofs and tile folders, written from the formats' texts alone: it imports nothing of the ledger."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from nacl.signing import VerifyKey

__all__ = ["check_folder", "check_note", "check_proof"]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_note(note: str, vkey: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint whose only signature is that of `vkey`."""
    name, hexed, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1
    assert hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == hexed
    text, line = note[: note.index("\n\n") + 1], note[note.index("\n\n") + 2 :]
    dash, signer, signature = line.rstrip("\n").split(" ")
    assert (dash, signer) == ("\u2014", name)
    assert base64.b64decode(signature)[:4].hex() == hexed
    VerifyKey(key[1:]).verify(text.encode(), base64.b64decode(signature)[4:])
    origin, size, root = text.splitlines()
    assert origin == name
    return int(size), base64.b64decode(root)


def _fold(hashes: list[bytes], index: int, size: int, found: bytes) -> bytes:
    """Root that a path leads to: at each level the node is a right child, a left child, or has no sibling."""
    path = list(hashes)
    while size > 1:
        if index % 2:
            found = _node(path.pop(0), found)
        elif index + 1 < size:
            found = _node(found, path.pop(0))
        index, size = index // 2, (size + 1) // 2
    assert not path
    return found


def check_proof(text: str, vkey: str) -> tuple[int, bytes]:
    """Index and leaf of a tlog-proof whose extra data is the leaf."""
    top, note = text.split("\n\n", 1)
    header, extra, index, *hashes = top.split("\n")
    assert header == "c2sp.org/tlog-proof@v1"
    leaf, position = base64.b64decode(extra.removeprefix("extra ")), int(index.removeprefix("index "))
    size, root = check_note(note, vkey)
    assert 0 <= position < size
    assert _fold([base64.b64decode(each) for each in hashes], position, size, hashlib.sha256(b"\x00" + leaf).digest()) == root
    return position, leaf


def _name(number: int) -> str:
    name = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        name = f"x{number % 1000:03d}/{name}"
    return name


def check_folder(folder: Path, vkey: str) -> list[bytes]:
    """All entries of a tlog-tiles folder, after holding every tile and the checkpoint against them."""
    size, root = check_note((folder / "checkpoint").read_text(), vkey)
    entries: list[bytes] = []
    for data in _level(folder, "entries", size):
        while data:
            length = int.from_bytes(data[:2], "big")
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    assert len(entries) == size
    nodes, level = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries], 0
    whole = nodes
    while whole:
        assert b"".join(_level(folder, str(level), len(whole))) == b"".join(whole)
        for _ in range(8):
            whole = [_node(whole[at], whole[at + 1]) for at in range(0, len(whole) - 1, 2)]
        level += 1
    while len(nodes) > 1:
        nodes = [_node(*nodes[at : at + 2]) if at + 1 < len(nodes) else nodes[at] for at in range(0, len(nodes), 2)]
    assert nodes == [root]
    return entries


def _level(folder: Path, level: str, size: int) -> list[bytes]:
    """Contents of the tiles of a level that has `size` hashes or entries."""
    names = [_name(number) for number in range(size // 256)]
    if size % 256:
        names.append(f"{_name(size // 256)}.p/{size % 256}")
    return [(folder / "tile" / level / name).read_bytes() for name in names]
