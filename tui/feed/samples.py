"""Samples out of the blob that holds them: where each is, and the text of one; and what was answered to items made of them."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kd.views.eval_table import Item
from kd.views.item_transcript import ItemTranscript, read_item_transcript
from kd.views.safe_text import safe_text
from kd.views.sample_text import SampleHead, SampleText, read_sample_text, sample_heads
from ledger.record import BlobRef
from ledger.segments import FileStore
from tui.feed.details import Absent, Details, read_blob
from tui.feed.frame import Frame
from tui.feed.secrets import bytes_without_secrets

__all__ = ["ItemTexts", "SampleIndex", "read_sample", "read_sample_index"]


@frozen(kw_only=True)
class SampleIndex:
    """All samples of a blob, in its order."""

    ref: BlobRef
    heads: tuple[SampleHead, ...]
    by_id: Mapping[str, SampleHead]


def read_sample_index(store: FileStore, ref: BlobRef) -> SampleIndex:
    """The index of the blob; LedgerError or ValueError if it cannot be read."""
    heads = tuple(sample_heads(read_blob(store, ref, is_stored=True)))
    return SampleIndex(ref=ref, heads=heads, by_id={head.id: head for head in heads})


def read_sample(store: FileStore, ref: BlobRef, head: SampleHead) -> SampleText:
    """The text of one sample."""
    with store.blobs.open(ref) as stream:
        stream.seek(head.offset)
        return read_sample_text(bytes_without_secrets(store, stream.read(head.num_bytes)))


class ItemTexts:
    """Texts behind evaluated items; a thread reads them."""

    def __init__(self, details: Details) -> None:
        self._details = details

    def sample(self, frame: Frame, item_id: str) -> SampleText | str:
        """The sample that the item asks, or in words why it is not here."""
        built = None if frame.data is None else frame.data.built
        if built is None:
            return "the run's samples are not recorded at this position"
        ref, sample_id = built.samples, item_id.rpartition("/")[2]
        index = self._details.get(("samples", ref), lambda store: read_sample_index(store, ref))
        if not isinstance(index, SampleIndex):
            return _why(index, "the samples")
        head = index.by_id.get(sample_id)
        if head is None:
            return safe_text(f"sample {sample_id} is not among the run's samples")
        text = self._details.get(("sample", ref, head.offset), lambda store: read_sample(store, ref, head))
        return text if isinstance(text, SampleText) else _why(text, "the sample")

    def transcript(self, item: Item) -> ItemTranscript | Absent | None:
        """What the arm answered; None while it is being read."""
        ref = item.event.transcript
        return self._details.get(("transcript", ref), lambda store: read_item_transcript(read_blob(store, ref)))


def _why(found: Absent | None, what: str) -> str:
    return f"reading {what}" if found is None else safe_text(found.sentence)
