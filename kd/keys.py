"""Where this person's keys are, and which of them signs a ledger.

Keys lie in $KD_KEYS, else in $XDG_CONFIG_HOME/kd/keys, else in ~/.config/kd/keys; never in a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ledger.key_files import KeyFolder
from ledger.tree_head import Signer

__all__ = ["key_folder", "signer_for"]


def key_folder(environ: Mapping[str, str]) -> KeyFolder:
    """The folder of this person's keys; it need not exist yet."""
    if environ.get("KD_KEYS"):
        return KeyFolder(Path(environ["KD_KEYS"]))
    config = environ.get("XDG_CONFIG_HOME")
    return KeyFolder((Path(config) if config else Path.home() / ".config") / "kd" / "keys")


def signer_for(keys: KeyFolder, origin: str) -> Signer | None:
    """The latest key made here for the ledger `origin`; None if it is somebody else's ledger. KeyFileError if a key is not private."""
    found = [signer for signer in keys.list() if signer.origin == origin]
    return found[-1] if found else None
