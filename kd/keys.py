"""Where this person's keys are, and which of them signs a ledger.

Keys lie in $KD_KEYS, else in $XDG_CONFIG_HOME/kd/keys, else in ~/.config/kd/keys; never in a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ledger.errors import KeyFileError
from ledger.key_files import KeyFolder
from ledger.layout import Layout
from ledger.opening import check_identity
from ledger.signed_history import SignedHistory
from ledger.tree_head import Signer

__all__ = ["key_folder", "signer_for", "trusted_keys"]


def key_folder(environ: Mapping[str, str], *, ledger: Path | None = None) -> KeyFolder:
    """The folder of this person's keys; it need not exist yet. KeyFileError if it is in the folder of `ledger`."""
    config = environ.get("XDG_CONFIG_HOME")
    path = Path(environ.get("KD_KEYS") or (Path(config) if config else Path.home() / ".config") / "kd" / "keys")
    if ledger is not None and path.resolve().is_relative_to(ledger.resolve()):
        raise KeyFileError(
            f"The key folder {path} is in the ledger {ledger}, expected another place, as whoever gets the ledger would get its key: "
            "move the keys, and name their folder in $KD_KEYS."
        )
    return KeyFolder(path)


def signer_for(keys: KeyFolder, ledger: Path) -> Signer | None:
    """The key here that signs the ledger: the last of those that it knows and that were not retired; None if none of them is here.

    A ledger without a key takes the latest one made here for it. KeyFileError if the key is not private.
    """
    layout = Layout(ledger)
    identity = layout.read_identity()
    check_identity(layout, identity)
    history = SignedHistory(layout, identity.origin, identity.vkey)
    history.refresh()
    if history.ring.keys:
        here = [key.key_id for key in history.ring.present if keys.has(key.key_id)]
        return keys.signer(here[-1]) if here else None
    made = [signer for signer in keys.list() if signer.origin == identity.origin]
    return made[-1] if made else None


def trusted_keys(keys: KeyFolder) -> tuple[str, ...] | None:
    """The public keys that are trusted here; None if a key cannot be used, which must keep nobody from examining a ledger."""
    try:
        return keys.trusted()
    except KeyFileError:
        return None
