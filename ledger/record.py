"""What the ledger stores and answers with: records, positions, references to blobs."""

from __future__ import annotations

import base64
import hashlib

import msgspec
from attrs import field, frozen, validators

__all__ = ["Appended", "BlobRef", "Cursor", "Guard", "Meta", "Record", "UnknownEvent"]


@frozen(kw_only=True)
class BlobRef:
    """A blob named by the SHA-256 of its bytes; an event that carries one is refused while the blob is absent."""

    sha256: str = field(validator=validators.matches_re(r"[0-9a-f]{64}"))
    num_bytes: int = field(validator=validators.ge(0))


@frozen(kw_only=True)
class Cursor:
    """A place between two records: `position` records lie before it and `chain` is the last one's chain hash."""

    position: int
    chain: str
    """Base64 of 32 bytes, as the line has it."""

    @classmethod
    def genesis(cls, origin: str) -> Cursor:
        """The place before the first record of the ledger named `origin`."""
        digest = hashlib.sha256(f"ledger/1\n{origin}\n".encode()).digest()
        return cls(position=0, chain=base64.b64encode(digest).decode())


@frozen(kw_only=True)
class Guard:
    """A condition of an append: `stream` must still be at `version`."""

    stream: str
    version: int


@frozen(kw_only=True)
class Meta:
    """Who caused a record, and which record caused it."""

    actor: str | None = None
    """At most 200 bytes."""
    cause: int | None = None
    """Position of the record that caused this one."""
    fence: int | None = None
    """Set by the store: the owner's number, out of the append's guard."""
    num_redactions: int | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to an append: positions of the first and last record, and the stream's version after them.

    A msgspec struct, like everything that each append makes: it takes a third of the time.
    """

    first: int
    last: int
    version: int
    chain: str
    is_duplicate: bool
    """The key was known: these are the positions of the first append under it."""
    is_durable: bool
    is_redacted: bool = False
    """A secret was taken out, so that what is stored is not what was given: read it back."""


@frozen(kw_only=True)
class UnknownEvent:
    """An event this program has no class for: its stored payload as JSON bytes."""

    name: str
    version: int
    payload: bytes


class Record(msgspec.Struct, frozen=True, gc=False):
    """One line of the ledger, decoded; a msgspec struct since reading makes one for every line."""

    position: int
    chain: str
    stream: str
    version: int
    key: str | None
    batch_index: int
    """From 1."""
    batch_size: int
    time_ms: int
    name: str
    event_version: int
    meta: Meta
    event: object
    line: bytes
    """The exact stored bytes, without the line feed."""

    @property
    def cursor(self) -> Cursor:
        """The place behind this record."""
        return Cursor(position=self.position + 1, chain=self.chain)
