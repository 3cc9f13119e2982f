"""Ledgers with a key, for the tests of what is signed and proven."""

from __future__ import annotations

from pathlib import Path

from ledger.chain import chain_bytes, head, link
from ledger.opening import create_ledger, open_ledger
from ledger.record import Cursor
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.testing import FixedClock
from ledger.tree_head import Signer
from tests.ledger.examples import ORIGIN, REGISTRY

__all__ = ["SIGNER", "forge", "open_signed", "signed_ledger"]

SIGNER = Signer.generate(ORIGIN)


def signed_ledger(folder: Path, settings: LedgerSettings | None = None) -> FileStore:
    """An empty ledger below `folder` that was created with `SIGNER`."""
    return create_ledger(folder / "ledger", origin=ORIGIN, registry=REGISTRY, signer=SIGNER, settings=settings, clock=FixedClock())


def open_signed(path: Path, *, write: bool = True, signer: Signer = SIGNER) -> FileStore:
    return open_ledger(path, registry=REGISTRY, signer=signer, write=write)


def forge(path: Path, position: int) -> None:
    """Change the record at `position` and compute all chain hashes anew, as one who knows the format would."""
    segment = path / "seg" / "00000000.jsonl"
    chain, out = chain_bytes(Cursor.genesis(ORIGIN).chain), b""
    for number, line in enumerate(segment.read_bytes().splitlines()):
        tail = line[51:].replace(b'"note":""', b'"note":"x"') if number == position else line[51:]
        chain = link(chain, tail)
        out += head(chain) + tail + b"\n"
    segment.write_bytes(out)
