"""A small domain for the ledger's tests: events, a registry, and ledgers that hold some."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import frozen

from ledger.opening import create_ledger
from ledger.record import BlobRef
from ledger.registry import Durability, Entry, Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.testing import FixedClock

__all__ = ["ORIGIN", "REGISTRY", "Filed", "Saved", "Stepped", "fill", "new_ledger", "tree_digest"]

ORIGIN = "example.invalid/tests"


@frozen(kw_only=True)
class Stepped:
    """A metric."""

    step: int
    loss_nats: float = 0.0
    note: str = ""


@frozen(kw_only=True)
class Saved:
    """A transition."""

    name: str


@frozen(kw_only=True)
class Filed:
    """An event that names a blob."""

    blobs: tuple[BlobRef, ...]


REGISTRY = Registry(
    (
        Entry(name="example.stepped", cls=Stepped, durability=Durability.METRIC),
        Entry(name="example.saved", cls=Saved, durability=Durability.TRANSITION),
        Entry(name="example.filed", cls=Filed, durability=Durability.TRANSITION),
    )
)


def new_ledger(folder: Path, settings: LedgerSettings | None = None) -> FileStore:
    """An empty ledger below `folder`, with a clock that stands still."""
    return create_ledger(folder / "ledger", origin=ORIGIN, registry=REGISTRY, settings=settings, clock=FixedClock())


def fill(store: FileStore, num_batches: int = 12) -> None:
    """Append batches of three metrics, every fourth with a key."""
    for number in range(num_batches):
        events = [Stepped(step=3 * number + index, loss_nats=1 / (number + 1)) for index in range(3)]
        store.append(f"run/{number % 2}", events, key=f"k{number}" if number % 4 == 0 else None)


def tree_digest(folder: Path) -> str:
    """SHA-256 over the paths and contents of all files below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
