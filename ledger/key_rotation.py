"""Giving a ledger another key, and taking one away."""

from __future__ import annotations

import contextlib
from typing import Literal

from ledger.errors import KeyFileError
from ledger.events import LEDGER_STREAM, KeyAdded, KeyRetired
from ledger.key_ring import LedgerKey
from ledger.segments import FileStore
from ledger.tree_head import Signer

__all__ = ["ledger_keys", "retire_key", "rotate_key"]


def ledger_keys(store: FileStore) -> tuple[LedgerKey, ...]:
    """All keys that the ledger ever named, oldest first."""
    return store.signed_history().ring.keys


def rotate_key(store: FileStore, new_signer: Signer) -> str | None:
    """Let `new_signer` sign from now on; the note of the store's own key over the record that says so, None if it was signed before.

    Both keys are good until one is retired. Raises KeyFileError if the store has no key that may sign.
    """
    if new_signer.origin != store.origin:
        raise KeyFileError(f"The key is for {new_signer.origin}, but the ledger is {store.origin}: make one for it.")
    store.sign_head()  # whoever may not sign may not name a successor
    known = store.signed_history().ring.keys
    if any(key.vkey == new_signer.vkey and key.reason is not None for key in known):
        raise KeyFileError(f"Key {new_signer.key_id} was retired: make a new one.")
    if new_signer.vkey not in {key.vkey for key in known}:
        store.append(LEDGER_STREAM, [KeyAdded(vkey=new_signer.vkey)])
    return store.sign_head()


def retire_key(store: FileStore, vkey: str, reason: Literal["rotated", "compromised"], valid_through_size: int | None = None) -> None:
    """Let nothing count that `vkey` signed over more than `valid_through_size` records; without it, what is signed now counts.

    Then sign anew with the store's own key, if that may sign. Raises KeyFileError if the ledger does not know the key, or
    has no other that may sign, and ValueError if there are not so many records.
    """
    ring = store.signed_history().ring
    if vkey not in ring.vkeys:
        raise KeyFileError(f"{vkey!r} is not a key of {store.origin}: see which keys it has.")
    head = store.tree_head()
    limit = (0 if head is None else head.size) if valid_through_size is None else valid_through_size
    if not 0 <= limit <= store.end().position:
        raise ValueError(f"A key cannot be valid through {limit} records: the ledger has {store.end().position}.")
    if [key.vkey for key in ring.present] == [vkey]:
        raise KeyFileError(f"No other key may sign for {store.origin}, expected one to go on with: rotate to it, then retire this one.")
    store.append(LEDGER_STREAM, [KeyRetired(vkey=vkey, reason=reason, valid_through_size=limit)])
    with contextlib.suppress(KeyFileError):  # the key that was taken away may be the store's own
        store.sign_head()
