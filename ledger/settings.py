"""The ledger's limits and intervals."""

from __future__ import annotations

from attrs import field, frozen, validators

__all__ = ["LINE_MAX_BYTES", "SPILL_BYTES", "LedgerSettings"]

LINE_MAX_BYTES = 65_535
"""Longest line without its line feed, fixed by the format."""
SPILL_BYTES = 61_440
"""A longer payload goes to a blob, fixed by the format."""

_positive = validators.gt(0)


@frozen(kw_only=True)
class LedgerSettings:
    """What a handle may be told; the format does not depend on it."""

    segment_max_bytes: int = field(default=33_554_432, validator=_positive)
    """A segment this long is sealed before the next append."""
    head_max_records: int = field(default=10_000, validator=_positive)
    """So many new records are signed at once, by a handle that has a key."""
    head_max_seconds: float = field(default=60.0, validator=validators.gt(0.0))
    """New records wait no longer than this for a signature."""
    metric_sync_seconds: float = field(default=0.1, validator=validators.gt(0.0))
    """The longest time that power loss can take from the metrics."""
    batch_max_records: int = field(default=1_000, validator=[_positive, validators.le(1_000)])
    batch_max_bytes: int = field(default=8_388_608, validator=[_positive, validators.le(8_388_608)])
    payload_max_bytes: int = field(default=16_777_216, validator=[_positive, validators.le(16_777_216)])
    follow_poll_seconds: float = field(default=0.005, validator=validators.gt(0.0))
    """How often a follower looks where the system cannot wake it."""
    follow_check_seconds: float = field(default=0.1, validator=validators.gt(0.0))
    """How often a follower looks although nothing woke it."""
    read_chunk_bytes: int = field(default=131_072, validator=_positive)
    """Read at a time; what comes of it stays in a processor's second cache."""
    snapshot_every_records: int = field(default=10_000, validator=_positive)
    """So far apart are the stored states of a projection."""
    lock_warn_seconds: float = field(default=5.0, validator=validators.gt(0.0))
    blob_grace_hours: float = field(default=24.0, validator=validators.ge(0.0))
    """A blob that no record needs stays this long, as its record may be on its way."""
