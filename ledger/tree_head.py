"""Signed tree heads: C2SP signed notes over C2SP checkpoints, with Ed25519.

    ORIGIN LF  SIZE LF  base64(ROOT) LF  LF  "— " ORIGIN " " base64(key id || signature) LF

The signature is over the three lines. A key is public as `vkey` = ORIGIN+ID+base64(0x01 || key), where ID is the first
four bytes of SHA-256(ORIGIN || LF || 0x01 || key) in hex; it is private as PRIVATE+KEY+ORIGIN+ID+base64(0x01 || seed).
"""

from __future__ import annotations

import binascii
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ledger.errors import KeyFileError, ProofError
from ledger.private_files import read_private

__all__ = [
    "Signer",
    "TreeHead",
    "VerifierKey",
    "from_base64",
    "head_text",
    "open_note",
    "parse_note",
    "parse_vkey",
    "sign_note",
    "signatures",
    "to_base64",
]

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014 "
_KEY_BYTES = 32
_ID_BYTES = 4
_MAX_SIZE = 2**53
_MAX_DIGITS = 16


@frozen(kw_only=True)
class TreeHead:
    """What is signed: the first `size` records of the ledger `origin` have this Merkle root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


@frozen(kw_only=True)
class VerifierKey:
    """A public key and the ledger it speaks for."""

    origin: str
    public: bytes

    @property
    def key_id(self) -> str:
        """Eight hex digits out of origin and key."""
        return hashlib.sha256(self.origin.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES].hex()

    @property
    def vkey(self) -> str:
        return f"{self.origin}+{self.key_id}+{to_base64(_ED25519 + self.public)}"

    def verify(self, text: str, signature: bytes) -> None:
        """ProofError unless `signature` is this key's over `text`."""
        try:
            VerifyKey(self.public).verify(text.encode(), signature)
        except (BadSignatureError, ValueError, TypeError) as error:
            raise ProofError(f"the signature of key {self.key_id} of {self.origin} does not fit") from error


@frozen(kw_only=True)
class Signer:
    """A private key; it shows itself as its public part only."""

    origin: str
    _key: SigningKey = field(alias="key", repr=False)

    @classmethod
    def generate(cls, origin: str) -> Signer:
        """A new key for the ledger `origin`."""
        return cls(origin=origin, key=SigningKey.generate())

    @classmethod
    def parse(cls, text: str, source: str = "The text") -> Signer:
        """The key in its private form; KeyFileError, which names the `source`, if `text` is none."""
        origin, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decode(encoded)
        if not text.startswith(_PRIVATE) or len(data) != 1 + _KEY_BYTES or data[:1] != _ED25519:
            raise KeyFileError(f"{source} is not a private key, expected one line PRIVATE+KEY+ORIGIN+ID+KEY: restore it from a backup.")
        signer = cls(origin=origin, key=SigningKey(data[1:]))
        if signer.key_id != key_id:
            raise KeyFileError(f"{source} says that it is key {key_id}, but it is {signer.key_id}: restore it from a backup.")
        return signer

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Signer:
        """The key in the file at `path`; KeyFileError if it is not private or holds none."""
        return cls.parse(read_private(Path(path)), str(path))

    @property
    def public(self) -> VerifierKey:
        return VerifierKey(origin=self.origin, public=bytes(self._key.verify_key))

    @property
    def vkey(self) -> str:
        return self.public.vkey

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def sign(self, text: str) -> bytes:
        """Signature (64 bytes) over `text`."""
        return self._key.sign(text.encode()).signature

    def private_text(self) -> str:
        """The private form: for a private file, and nothing else."""
        return f"{_PRIVATE}{self.origin}+{self.key_id}+{to_base64(_ED25519 + bytes(self._key))}\n"


def parse_vkey(vkey: str) -> VerifierKey:
    """The public key that `vkey` is; KeyFileError if it is none."""
    origin, _, rest = vkey.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    data = _decode(encoded)
    if not origin or len(data) != 1 + _KEY_BYTES or data[:1] != _ED25519:
        raise KeyFileError(f"{vkey.strip()!r} is not a public key, expected ORIGIN+ID+KEY: copy it again from whoever gave it to you.")
    key = VerifierKey(origin=origin, public=data[1:])
    if key.key_id != key_id:
        raise KeyFileError(f"The public key {vkey.strip()!r} should have the id {key.key_id}: copy it again from whoever gave it to you.")
    return key


def sign_note(head: TreeHead, signer: Signer) -> str:
    """The signed note that says `head`."""
    signature = bytes.fromhex(signer.key_id) + signer.sign(head.text)
    return f"{head.text}\n{_DASH}{signer.origin} {to_base64(signature)}\n"


def parse_note(text: str) -> TreeHead:
    """What a note says, with no signature looked at; ProofError if it is no note."""
    lines = _split(text)[0].split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise ProofError("the note does not say origin, size and root in a line each")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit()) or len(size) > _MAX_DIGITS or str(int(size)) != size or int(size) > _MAX_SIZE:
        raise ProofError(f"the note says the size {size[:40]!r}, which is no number of records")
    return TreeHead(origin=origin, size=int(size), root=from_base64(root, _KEY_BYTES))


def signatures(text: str) -> list[tuple[str, str, bytes]]:
    """Key name, key id and signature of each signature line of a note."""
    found: list[tuple[str, str, bytes]] = []
    for line in _split(text)[1].split("\n")[:-1]:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        data = _decode(encoded)
        if not line.startswith(_DASH) or not name or len(data) <= _ID_BYTES:
            raise ProofError("the note has a line after the empty one that is no signature")
        found.append((name, data[:_ID_BYTES].hex(), data[_ID_BYTES:]))
    return found


def open_note(text: str, vkeys: Iterable[str]) -> TreeHead:
    """What a note says, signed by one of `vkeys` that speaks for its origin; ProofError otherwise."""
    head = parse_note(text)
    keys = {(key.origin, key.key_id): key for key in map(parse_vkey, vkeys)}
    is_signed = False
    for name, key_id, signature in signatures(text):
        key = keys.get((name, key_id))
        if key is not None:
            key.verify(head_text(text), signature)
            is_signed = is_signed or name == head.origin
    if not is_signed:
        raise ProofError(f"the note of {head.origin} is signed by none of the keys that were given")
    return head


def head_text(text: str) -> str:
    """The signed part of a note."""
    return _split(text)[0]


def to_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def from_base64(text: str, num_bytes: int) -> bytes:
    """The `num_bytes` bytes that `text` stands for; ProofError if it is not exactly their base64."""
    data = _decode(text)
    if len(data) != num_bytes:
        raise ProofError(f"{text[:80]!r} is not the base64 of {num_bytes} bytes")
    return data


def _decode(text: str) -> bytes:
    """The bytes of which `text` is the one base64, or nothing."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return b""
    return data if to_base64(data) == text else b""


def _split(text: str) -> tuple[str, str]:
    """Signed part and signature lines of a note."""
    body, gap, rest = text.rpartition("\n\n")
    if not gap or not text.endswith("\n"):
        raise ProofError("the note has no empty line before its signatures")
    return body + "\n", rest
