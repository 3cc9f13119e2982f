"""The append-only, tamper-evident ledger: typed records that many processes share without a server."""

from ledger.blobs import Blobs
from ledger.chain import verify_lines
from ledger.collection import Collected, collect_blobs, release_blob
from ledger.decider import Decider, fold
from ledger.findings import Finding, FsckReport
from ledger.follow import follow, follow_async
from ledger.fsck import check_ledger
from ledger.handle import Live
from ledger.head_examination import Trust
from ledger.index import Index, open_index
from ledger.key_files import KeyFolder
from ledger.key_ring import LedgerKey
from ledger.key_rotation import ledger_keys, retire_key, rotate_key
from ledger.opening import create_ledger, open_ledger
from ledger.ownership import Ownership, claim, is_owned, wait_for_death
from ledger.projection import Projection, Projector, project
from ledger.proofs import VerifiedLine, consistency_proof, prove, verify_consistency_proof, verify_proof
from ledger.record import Appended, BlobRef, Cursor, Guard, Meta, Record, UnknownEvent
from ledger.redaction import Redactor
from ledger.registry import Durability, Entry, Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.stats import LedgerStats, ledger_stats
from ledger.store import MemoryStore, Store, Tail
from ledger.tile_export import export_tiles
from ledger.tree_head import Signer, TreeHead, open_note, sign_note

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
    "KeyFolder",
    "LedgerKey",
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
    "Signer",
    "Store",
    "Tail",
    "TreeHead",
    "Trust",
    "UnknownEvent",
    "VerifiedLine",
    "check_ledger",
    "claim",
    "collect_blobs",
    "consistency_proof",
    "create_ledger",
    "export_tiles",
    "fold",
    "follow",
    "follow_async",
    "is_owned",
    "ledger_keys",
    "ledger_stats",
    "open_index",
    "open_ledger",
    "open_note",
    "project",
    "prove",
    "release_blob",
    "retire_key",
    "rotate_key",
    "sign_note",
    "verify_consistency_proof",
    "verify_lines",
    "verify_proof",
    "wait_for_death",
]
