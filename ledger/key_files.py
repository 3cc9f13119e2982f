"""A person's keys: one private file for each in a folder of mode 0700, and beside them the public keys that are trusted.

A key is in `<key id>.key`, mode 0600; `trust` holds one vkey a line, and `distrusted` likewise those that count no more,
as somebody else has them. Nothing of it is ever in a ledger's folder.
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
        """The vkeys that are trusted: those in `trust`, and those of the keys here, without those in `distrusted`."""
        own = [signer.vkey for signer in self.list()]
        distrusted = _listed(self._distrusted)
        return tuple(vkey for vkey in dict.fromkeys([*_listed(self._trust), *own]) if vkey not in distrusted)

    def trust(self, vkey: str) -> None:
        """Trust `vkey` from now on; KeyFileError if it is no public key, or one that is distrusted."""
        key = parse_vkey(vkey)
        if key.vkey in _listed(self._distrusted):
            raise KeyFileError(f"Key {key.key_id} is in {self._distrusted}, as somebody else has it: trust a later key of {key.origin}.")
        self._add(self._trust, key.vkey)

    def distrust(self, vkey: str) -> None:
        """Trust `vkey` no more, whether it is here or not; KeyFileError if it is no public key."""
        self._add(self._distrusted, parse_vkey(vkey).vkey)

    def _add(self, path: Path, vkey: str) -> None:
        make_private_folder(self.path)
        before = read_private(path) if path.exists() else ""
        if vkey in before.splitlines():
            return
        partial = path.with_name(f"{path.name}.tmp")
        partial.unlink(missing_ok=True)
        write_private(partial, f"{before}{vkey}\n")
        partial.rename(path)

    @property
    def _trust(self) -> Path:
        return self.path / "trust"

    @property
    def _distrusted(self) -> Path:
        return self.path / "distrusted"

    def _file(self, key_id: str) -> Path:
        return self.path / f"{key_id}.key"

    def _check_folder(self) -> None:
        check_private(os.lstat(self.path), self.path, "directory")


def _listed(path: Path) -> list[str]:
    """The vkeys in the file at `path`; none if there is no file."""
    lines = [line.strip() for line in read_private(path).splitlines()] if path.exists() else []
    return [parse_vkey(line).vkey for line in lines if line and not line.startswith("#")]
