"""A person's keys: one private file for each in a folder of mode 0700, and beside them the public keys that are trusted.

A key is in `<key id>.key`, mode 0600; `trust` holds one vkey a line. Nothing of it is ever in a ledger's folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ledger.errors import KeyFileError
from ledger.private_files import check_private, make_private_folder, read_private, write_private
from ledger.tree_head import Signer, parse_vkey

__all__ = ["KeyFolder"]

_ID = re.compile(r"[0-9a-f]{8}")


class KeyFolder:
    """The keys at `path`; every use looks whether they are still private."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def create(self, origin: str) -> Signer:
        """A new key for the ledger `origin`, in a new file."""
        make_private_folder(self.path)
        signer = Signer.generate(origin)
        write_private(self._file(signer.key_id), signer.private_text())
        return signer

    def has(self, key_id: str) -> bool:
        """Whether a file has the name of this key; whether it can be used shows when it is."""
        return _ID.fullmatch(key_id) is not None and os.path.lexists(self._file(key_id))

    def signer(self, origin_or_key_id: str) -> Signer:
        """The key with this id, or the latest one made for this ledger; KeyFileError if there is none."""
        if self.has(origin_or_key_id):
            self._check_folder()
            return Signer.load(self._file(origin_or_key_id))
        found = [signer for signer in self.list() if signer.origin == origin_or_key_id]
        if not found:
            raise KeyFileError(f"{self.path} has no key for {origin_or_key_id}, expected one: make it, or point to the folder that has it.")
        return found[-1]

    def list(self) -> tuple[Signer, ...]:
        """All keys, in the order in which they were made; KeyFileError if one is not private."""
        if not self.path.exists():
            return ()
        self._check_folder()
        files = [each for each in self.path.glob("*.key") if _ID.fullmatch(each.stem)]
        return tuple(Signer.load(each) for each in sorted(files, key=lambda each: (os.lstat(each).st_mtime_ns, each.name)))

    def trusted(self) -> tuple[str, ...]:
        """The vkeys that are trusted: those in `trust`, and those of the keys here."""
        own = tuple(signer.vkey for signer in self.list())
        if not self._trust.exists():
            return own
        lines = [line.strip() for line in read_private(self._trust).splitlines()]
        listed = [line for line in lines if line and not line.startswith("#")]
        for line in listed:
            parse_vkey(line)
        return tuple(dict.fromkeys([*listed, *own]))

    def trust(self, vkey: str) -> None:
        """Trust `vkey` from now on; KeyFileError if it is no public key."""
        key = parse_vkey(vkey).vkey
        make_private_folder(self.path)
        before = read_private(self._trust) if self._trust.exists() else ""
        if key in before.splitlines():
            return
        partial = self.path / "trust.tmp"
        partial.unlink(missing_ok=True)
        write_private(partial, f"{before}{key}\n")
        partial.rename(self._trust)

    @property
    def _trust(self) -> Path:
        return self.path / "trust"

    def _file(self, key_id: str) -> Path:
        return self.path / f"{key_id}.key"

    def _check_folder(self) -> None:
        check_private(os.lstat(self.path), self.path, "directory")
