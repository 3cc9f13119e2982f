"""Proofs that a record is in a ledger, as C2SP tlog-proof texts that anyone can check offline with the ledger's public key.

    c2sp.org/tlog-proof@v1 LF  extra base64(LINE) LF  index POSITION LF  base64(HASH) LF …  LF  signed note

`consistency_proof` shows in the same spirit that a head kept elsewhere is a prefix of the present one.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import msgspec
from attrs import frozen

from ledger.codec import is_spilled, spilled
from ledger.errors import CorruptError, HeadConflictError, KeyFileError, ProofError
from ledger.layout import Layout
from ledger.line_search import find_line
from ledger.lines import Envelope, parse
from ledger.merkle import EMPTY_ROOT, HashAt, consistency_path, inclusion_path, leaf_hash, verify_consistency, verify_inclusion
from ledger.segments import FileStore
from ledger.tree_head import TreeHead, from_base64, open_note, to_base64
from ledger.tree_reading import covering_note, with_tree

__all__ = ["VerifiedLine", "consistency_proof", "prove", "verify_consistency_proof", "verify_proof"]

_FORMAT = "c2sp.org/tlog-proof@v1"
_MAX_PATH = 64
_HASH_BYTES = len(EMPTY_ROOT)


@frozen(kw_only=True)
class VerifiedLine:
    """A record that was proven to be in a ledger."""

    head: TreeHead
    position: int
    line: bytes

    @property
    def envelope(self) -> Envelope:
        """The line's fields, with its payload as JSON bytes."""
        return parse(self.line)

    @property
    def payload_sha256(self) -> str | None:
        """The blob that holds the payload, where it was too long for the line."""
        payload = bytes(self.envelope.e)
        return spilled(payload).sha256 if is_spilled(payload) else None

    def names(self, sha256: str) -> bool:
        """Whether the payload names the file with this digest."""
        return len(sha256) == 2 * _HASH_BYTES and sha256.encode() in bytes(self.envelope.e)


def prove(store: FileStore, position: int) -> str:
    """The proof that the record at `position` is in the ledger, under the latest head or one that is signed now.

    Raises KeyFileError if no head covers it and none can be signed, TamperedError if the records are not those that were
    signed, ValueError if there is no such record.
    """
    note, head = covering_note(store, position + 1)
    try:
        found = find_line(Layout(store.path), store.origin, position)
    except CorruptError:
        found = None
    line = next(store.lines(position, position + 1)) if found is None else found.line

    def path(hash_at: HashAt) -> list[bytes]:
        hashes = inclusion_path(position, head.size, hash_at)
        verify_inclusion(leaf_hash(line), position, head.size, hashes, head.root)
        return hashes

    lines = [_FORMAT, f"extra {to_base64(line)}", f"index {position}", *map(to_base64, with_tree(store, head, path))]
    return "\n".join(lines) + "\n\n" + note


def verify_proof(text: str, vkeys: Sequence[str]) -> VerifiedLine:
    """The record that `text` proves to be in a ledger whose key is one of `vkeys`.

    Raises ProofError if it proves nothing, KeyFileError if there is no key to check it with.
    """
    _check_keys(vkeys)
    top, gap, note = text.partition("\n\n")
    rows = top.split("\n")
    if not gap or rows[0] != _FORMAT or len(rows) < 3 or not rows[1].startswith("extra ") or not rows[2].startswith("index "):
        raise ProofError(f"the text is not a {_FORMAT} with the record as its extra data")
    head = open_note(note, vkeys)
    line = _line(rows[1].removeprefix("extra "))
    position = _number(rows[2].removeprefix("index "))
    verify_inclusion(leaf_hash(line), position, head.size, _hashes(rows[3:]), head.root)
    verified = VerifiedLine(head=head, position=position, line=line)
    try:
        stated = verified.envelope.q
    except (msgspec.DecodeError, ValueError) as error:
        raise ProofError("what it proves is not a record") from error
    if stated != position:
        raise ProofError(f"the record says position {stated}, but stands at {position}")
    return verified


def consistency_proof(store: FileStore, old_note: str) -> str:
    """The proof that the ledger only grew since `old_note`: `old SIZE`, the hashes, an empty line and the present note.

    Raises HeadConflictError if it did not, ProofError if the old note is not one of this ledger's.
    """
    old = store.signed_history().ring.open_note(old_note)
    if old.size > store.end().position:
        raise HeadConflictError(f"{old.size} records were signed, but {store.end().position} are there")
    note, head = covering_note(store, old.size)

    def path(hash_at: HashAt) -> list[bytes]:
        hashes = consistency_path(old.size, head.size, hash_at)
        verify_consistency(old.size, old.root, head.size, head.root, hashes)
        return hashes

    try:
        rows = [f"old {old.size}", *map(to_base64, with_tree(store, head, path))]
    except ProofError as error:
        raise HeadConflictError(f"the {old.size} records of the old head are not a prefix of the {head.size} that are there") from error
    return "\n".join(rows) + "\n\n" + note


def verify_consistency_proof(text: str, old_note: str, vkeys: Sequence[str]) -> TreeHead:
    """The head that `text` proves to continue `old_note`, both signed by one of `vkeys`; ProofError or KeyFileError otherwise."""
    _check_keys(vkeys)
    old = open_note(old_note, vkeys)
    top, gap, note = text.partition("\n\n")
    rows = top.split("\n")
    if not gap or rows[0] != f"old {old.size}":
        raise ProofError(f"the text is not a consistency proof from {old.size} records on")
    head = open_note(note, vkeys)
    if head.origin != old.origin:
        raise ProofError(f"the old head is of {old.origin}, the new one of {head.origin}")
    verify_consistency(old.size, old.root, head.size, head.root, _hashes(rows[1:]))
    return head


def _check_keys(vkeys: Sequence[str]) -> None:
    if not vkeys:
        raise KeyFileError("There is no public key to check with, and under an unknown key nothing is proven: give the ledger's vkey.")


def _line(encoded: str) -> bytes:
    try:
        line = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise ProofError("its extra data is not base64") from error
    return from_base64(encoded, len(line))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or str(int(text)) != text:
        raise ProofError(f"{text[:40]!r} is not a position")
    return int(text)


def _hashes(rows: Sequence[str]) -> list[bytes]:
    if len(rows) > _MAX_PATH:
        raise ProofError(f"it has {len(rows)} hashes, expected at most {_MAX_PATH}")
    return [from_base64(row, _HASH_BYTES) for row in rows]
