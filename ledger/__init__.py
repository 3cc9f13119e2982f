"""The append-only, tamper-evident ledger: typed records that many processes share without a server."""

from ledger.blobs import Blobs
from ledger.chain import verify_lines
from ledger.collection import Collected, collect_blobs, release_blob
from ledger.decider import Decider, fold
from ledger.findings import Finding, FsckReport
from ledger.follow import follow, follow_async
from ledger.fsck import check_ledger
from ledger.handle import Live
from ledger.index import Index, open_index
from ledger.opening import create_ledger, open_ledger
from ledger.ownership import Ownership, claim, is_owned, wait_for_death
from ledger.projection import Projection, Projector, project
from ledger.record import Appended, BlobRef, Cursor, Guard, Meta, Record, UnknownEvent
from ledger.redaction import Redactor
from ledger.registry import Durability, Entry, Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.stats import LedgerStats, ledger_stats
from ledger.store import MemoryStore, Store, Tail

__all__ = [
    "Appended",
    "BlobRef",
    "Blobs",
    "Collected",
    "Cursor",
    "Decider",
    "Durability",
    "Entry",
    "FileStore",
    "Finding",
    "FsckReport",
    "Guard",
    "Index",
    "LedgerSettings",
    "LedgerStats",
    "Live",
    "MemoryStore",
    "Meta",
    "Ownership",
    "Projection",
    "Projector",
    "Record",
    "Redactor",
    "Registry",
    "Store",
    "Tail",
    "UnknownEvent",
    "check_ledger",
    "claim",
    "collect_blobs",
    "create_ledger",
    "fold",
    "follow",
    "follow_async",
    "is_owned",
    "ledger_stats",
    "open_index",
    "open_ledger",
    "project",
    "release_blob",
    "verify_lines",
    "wait_for_death",
]
