"""What there is to be examined: which ledger this is and which segments it has, also where some of that is damaged or gone."""

from __future__ import annotations

import contextlib
from itertools import pairwise

from ledger.errors import IntegrityError, TamperedError
from ledger.findings import Finding, finding
from ledger.layout import Identity, Layout, segment_name
from ledger.opening import recorded_identity
from ledger.places import stands, start_of

__all__ = ["find_identity", "find_segments"]


def find_identity(layout: Layout) -> tuple[Identity, list[Finding]]:
    """What `LEDGER.json` says, or record 0 if that follows from itself; with a finding where the two differ."""
    said = recorded = None
    with contextlib.suppress(IntegrityError):  # reported with the lines
        recorded = recorded_identity(layout)
    try:
        said = layout.read_identity()
        if recorded is None or recorded == said:
            return said, []
        reason = f"{layout.identity} says another origin, time or key than the first record"
    except TamperedError as error:
        reason = error.reason
    if recorded is not None and stands(layout, start_of(layout, recorded.origin, 0)):
        said = recorded
    return said or Identity(origin="", created_ms=0), [finding("genesis_mismatch", f"{reason[:1].upper()}{reason[1:]}.")]


def find_segments(layout: Layout) -> tuple[list[int], list[Finding]]:
    """The segments that are there, and a finding for each stretch of them that is not."""
    with contextlib.suppress(TamperedError):
        return layout.segment_numbers(), []
    segments = layout.listed_segments()
    found: list[Finding] = []
    for before, after in pairwise([-1, *(segments or [1])]):
        if after > before + 1:
            name, last = segment_name(before + 1), segment_name(after - 1)
            message = f"Segment {name} is missing." if name == last else f"Segments {name} to {last} are missing."
            found.append(finding("segment_missing", message, segment=name))
    return segments, found
