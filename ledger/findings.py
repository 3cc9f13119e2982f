"""What an examination of a ledger found: typed findings, worst first."""

from __future__ import annotations

from typing import Literal

from attrs import asdict, frozen

__all__ = ["Depth", "Finding", "FsckReport", "Severity", "finding", "worst_first"]

Severity = Literal["error", "warning", "note"]
Depth = Literal["quick", "full", "deep"]

_ORDER = ("error", "warning", "note")
_INTEGRITY_EXIT = 5

_ACTIONS: dict[str, tuple[Severity, str]] = {
    "line_damaged": ("error", "restore the segment from a backup"),
    "chain_broken": ("error", "restore the segment from a backup"),
    "position_gap": ("error", "restore the segment from a backup"),
    "version_gap": ("error", "restore the segment from a backup"),
    "batch_broken": ("error", "restore the segment from a backup"),
    "key_duplicate": ("error", "restore the segment from a backup"),
    "fence_violation": ("error", "restore the segment from a backup"),
    "genesis_mismatch": ("error", "restore LEDGER.json and the first segment from a backup"),
    "segment_missing": ("error", "restore the segment from a backup"),
    "segment_digest": ("error", "restore the segment from a backup"),
    "head_signature": ("error", "restore tree_head from a backup, or remove it and sign anew with a key that counts"),
    "head_root": ("error", "restore the ledger from a backup"),
    "head_ahead": ("error", "restore the ledger from a backup"),
    "head_rolled_back": ("error", "restore the ledger from a backup"),
    "blob_missing": ("error", "restore the blob from a backup, or run the work that made it again"),
    "blob_damaged": ("error", "restore the blob from a backup, or remove the file and run the work that made it again"),
    "undecodable_event": ("error", "read it with the version of the program that wrote it"),
    "duplicate_json_key": ("error", "restore the segment from a backup"),
    "fences_mixed": ("warning", "nothing, if owners of several runs are meant to write to this stream"),
    "torn_tail": ("warning", "open the ledger for writing, or repair it: it goes to quarantine"),
    "lock_missing": ("warning", "end everything that writes to the ledger, then repair it"),
    "poisoned": ("warning", "see to the disk, then restart the machine and open the ledger again, or repair it"),
    "unknown_event": ("warning", "read it with the version of the program that wrote it"),
    "unknown_field": ("warning", "read it with the version of the program that wrote it"),
    "tile_mismatch": ("warning", "nothing: they are made again when they are needed; a repair does it now"),
    "key_permissions": ("warning", "make the key private, or make a new one and retire the old"),
    "unpinned_key": ("warning", "trust the key, if whoever made the ledger gave it to you"),
    "index_stale": ("warning", "nothing: it is made anew where it is used; index.sqlite may be removed at any time"),
    "no_head": ("warning", "sign one"),
    "clock_stepped_back": ("note", "nothing: the order is that of the positions"),
    "unreferenced_blob": ("note", "nothing: no record names them"),
    "released_blob": ("note", "nothing: a record says that they are needed no more"),
    "quarantine_present": ("note", "nothing: a dead writer left these bytes, or a repair gave them up because their loss was accepted"),
    "spilled_payload": ("note", "nothing: these payloads are in blobs"),
    "summary_missing": ("note", "nothing: all segments are read instead"),
}


@frozen(kw_only=True)
class Finding:
    """One thing that is not as it should be, or worth knowing."""

    code: str
    severity: Severity
    segment: str | None
    """Name of the file."""
    offset_bytes: int | None
    position: int | None
    message: str
    action: str


@frozen(kw_only=True)
class FsckReport:
    """All that was found."""

    depth: Depth
    size: int
    """Number of records that were seen."""
    chain: str
    """Chain hash of the last of them."""
    root: str | None
    """Base64 of the Merkle root over them; None if not all of them were read."""
    head: int | None
    """Number of records that the latest tree head signs; None if there is none."""
    num_segments: int
    findings: tuple[Finding, ...]
    """Worst first, then in the order of the files."""
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether there is no error; warnings and notes are no errors."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def exit(self) -> int:
        """Exit status of a command that reports this."""
        return 0 if self.is_ok else _INTEGRITY_EXIT

    def to_plain(self) -> dict[str, object]:
        """The report as JSON values."""
        return {
            "is_ok": self.is_ok,
            "exit": self.exit,
            "size": self.size,
            "chain": self.chain,
            "root": self.root,
            "head": self.head,
            "num_segments": self.num_segments,
            "findings": [asdict(finding) for finding in self.findings],
            "seconds": self.seconds,
            "records_per_second": self.size / self.seconds if self.seconds > 0 else None,
        }


def finding(
    code: str, message: str, *, segment: str | None = None, offset_bytes: int | None = None, position: int | None = None, action: str = ""
) -> Finding:
    """A finding with the severity and the action of its code."""
    severity, usual = _ACTIONS[code]
    return Finding(
        code=code,
        severity=severity,
        segment=segment,
        offset_bytes=offset_bytes,
        position=position,
        message=message,
        action=action or usual,
    )


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """`findings` in order of severity, otherwise as they were."""
    return tuple(sorted(findings, key=lambda each: _ORDER.index(each.severity)))
