"""Which keys may sign a ledger's tree heads, and up to where: a fold over its own records, pure.

The key of record 0 counts from the start, one added by a record counts for heads that cover that record, and a retired
one for heads up to the size its retirement names. A key that was retired never comes back.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve as replace
from attrs import frozen

from ledger.events import KeyAdded, KeyRetired
from ledger.tree_head import TreeHead, open_note, parse_note, parse_vkey

__all__ = ["KeyRing", "LedgerKey"]


@frozen(kw_only=True)
class LedgerKey:
    """A key and the heads that it may sign."""

    vkey: str
    since_size: int
    """Size of the smallest head that counts."""
    reason: str | None = None
    """Why it was retired, if it was."""
    valid_through_size: int | None = None
    """Size of the largest head that counts, if it was retired."""

    @property
    def key_id(self) -> str:
        return parse_vkey(self.vkey).key_id

    def is_active(self, size: int) -> bool:
        """Whether a head over `size` records counts if this key signed it."""
        return self.since_size <= size and (self.valid_through_size is None or size <= self.valid_through_size)


@frozen
class KeyRing:
    """All keys that a ledger ever named, oldest first."""

    keys: tuple[LedgerKey, ...] = ()

    @classmethod
    def created(cls, vkey: str | None) -> KeyRing:
        """The ring of a ledger whose record 0 names `vkey`."""
        return cls(() if vkey is None else (LedgerKey(vkey=vkey, since_size=1),))

    def after(self, position: int, event: object) -> KeyRing:
        """The ring after the record at `position`."""
        match event:
            case KeyAdded() if event.vkey not in self.vkeys:
                return KeyRing((*self.keys, LedgerKey(vkey=event.vkey, since_size=position + 1)))
            case KeyRetired():
                return KeyRing(tuple(_retired(key, event) if key.vkey == event.vkey else key for key in self.keys))
            case _:
                return self

    @property
    def vkeys(self) -> tuple[str, ...]:
        return tuple(key.vkey for key in self.keys)

    @property
    def present(self) -> tuple[LedgerKey, ...]:
        """The keys that may sign what is there now: those that were not retired."""
        return tuple(key for key in self.keys if key.valid_through_size is None)

    def active(self, size: int) -> tuple[str, ...]:
        """The keys that may sign a head over `size` records."""
        return tuple(key.vkey for key in self.keys if key.is_active(size))

    def open_note(self, note: str) -> TreeHead:
        """What `note` says, signed by a key that counts for so many records; ProofError otherwise."""
        return open_note(note, self.active(parse_note(note).size))

    def with_id(self, key_ids: Iterable[str]) -> tuple[LedgerKey, ...]:
        """The keys that have one of `key_ids`."""
        wanted = set(key_ids)
        return tuple(key for key in self.keys if key.key_id in wanted)


def _retired(key: LedgerKey, event: KeyRetired) -> LedgerKey:
    earlier = key.valid_through_size
    limit = event.valid_through_size if earlier is None else min(earlier, event.valid_through_size)
    return replace(key, reason=event.reason, valid_through_size=limit)
