"""Samples out of the blob that holds them: where each is, and the text of one."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kd.views.sample_text import SampleHead, SampleText, read_sample_text, sample_heads
from ledger.record import BlobRef
from ledger.segments import FileStore
from tui.feed.details import read_blob

__all__ = ["SampleIndex", "read_sample", "read_sample_index"]


@frozen(kw_only=True)
class SampleIndex:
    """All samples of a blob, in its order."""

    ref: BlobRef
    heads: tuple[SampleHead, ...]
    by_id: Mapping[str, SampleHead]


def read_sample_index(store: FileStore, ref: BlobRef) -> SampleIndex:
    """The index of the blob; LedgerError or ValueError if it cannot be read."""
    heads = tuple(sample_heads(read_blob(store, ref)))
    return SampleIndex(ref=ref, heads=heads, by_id={head.id: head for head in heads})


def read_sample(store: FileStore, ref: BlobRef, head: SampleHead) -> SampleText:
    """The text of one sample."""
    with store.blobs.open(ref) as stream:
        stream.seek(head.offset)
        return read_sample_text(stream.read(head.num_bytes))
