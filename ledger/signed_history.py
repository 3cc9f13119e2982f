"""What a ledger says of its own signatures: its keys, and the tree heads it records, found without reading every line.

A line's event name cannot stand inside a string of JSON, so a search of the bytes finds every line that can matter. The
lines are not verified here; whoever depends on one holds it against the chain or a signed root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
from attrs import frozen

from ledger.errors import ProofError
from ledger.events import LEDGER_STREAM, KeyAdded, KeyRetired, TreeHeadSigned
from ledger.key_ring import KeyRing
from ledger.layout import Layout
from ledger.lines import parse
from ledger.merkle import EMPTY_ROOT
from ledger.tree_head import TreeHead, from_base64

__all__ = ["RecordedHead", "SignedHistory"]

_MARK = b'"y":"ledger.'
_DECODERS: dict[str, msgspec.json.Decoder[TreeHeadSigned] | msgspec.json.Decoder[KeyAdded] | msgspec.json.Decoder[KeyRetired]] = {
    "ledger.tree_head_signed/1": msgspec.json.Decoder(TreeHeadSigned),
    "ledger.key_added/1": msgspec.json.Decoder(KeyAdded),
    "ledger.key_retired/1": msgspec.json.Decoder(KeyRetired),
}
_PIECE_BYTES = 1_048_576
"""A longer piece would not stay in a processor's cache; a line is far shorter."""
_NAMES = tuple(name.removeprefix("ledger.").encode() for name in _DECODERS)


@frozen(kw_only=True)
class RecordedHead:
    """A `ledger.tree_head_signed` record."""

    position: int
    head: TreeHead
    key_id: str


class SignedHistory:
    """Keys and heads of the ledger at `layout`, as far as it was read."""

    def __init__(self, layout: Layout, origin: str, vkey: str | None) -> None:
        self.ring = KeyRing.created(vkey)
        self.heads: list[RecordedHead] = []
        self._layout = layout
        self._origin = origin
        self._vkey = vkey
        self._segment = 0
        self._offset = 0
        """Behind the last whole batch that was read: what is not whole may be cut away, and other lines written in its place."""

    def refresh(self) -> None:
        """Read what was appended since; all anew if a repair dropped what was read."""
        if self._is_cut():
            self.ring, self.heads = KeyRing.created(self._vkey), []
            self._segment, self._offset = 0, 0
        while self._read_segment() and self._layout.segment(self._segment + 1).exists():
            self._segment, self._offset = self._segment + 1, 0

    def _is_cut(self) -> bool:
        try:
            return self._layout.segment(self._segment).stat().st_size < self._offset
        except FileNotFoundError:
            return self._offset > 0

    def _read_segment(self) -> bool:
        """Read the whole batches in the rest of the segment, a piece at a time; False if there is no segment."""
        try:
            stream = self._layout.segment(self._segment).open("rb", buffering=0)
        except FileNotFoundError:
            return False
        num_bytes = _PIECE_BYTES
        with stream:
            while data := os.pread(stream.fileno(), num_bytes, self._offset):
                end = _end_of_batches(data)
                if end == 0 and len(data) < num_bytes:
                    break
                for line in _own_lines(data, end):
                    self._take(line)
                self._offset += end
                num_bytes = _PIECE_BYTES if end else 2 * num_bytes
        return True

    def latest(self) -> RecordedHead | None:
        """The recorded head over most records."""
        return max(self.heads, key=lambda each: each.head.size, default=None)

    def _take(self, line: bytes) -> None:
        try:
            envelope = parse(line)
            decoder = _DECODERS.get(envelope.y)
            event = None if decoder is None or envelope.s != LEDGER_STREAM else decoder.decode(envelope.e)
            if isinstance(event, TreeHeadSigned):
                head = TreeHead(origin=self._origin, size=event.size, root=from_base64(event.root, len(EMPTY_ROOT)))
                self.heads.append(RecordedHead(position=envelope.q, head=head, key_id=event.key_id))
            else:
                self.ring = self.ring.after(envelope.q, event)
        except (msgspec.DecodeError, ValueError, ProofError):
            return  # whoever reads the line says that it is damaged


def _end_of_batches(data: bytes) -> int:
    """Length of the whole batches at the start of `data`; a last line that cannot be read counts as whole, and as damaged elsewhere."""
    end = data.rfind(b"\n") + 1
    try:
        index, size = parse(data[data.rfind(b"\n", 0, end - 1) + 1 : end - 1]).b if end else (0, 0)
    except (msgspec.DecodeError, ValueError):
        return end
    for _ in range(index if index < size else 0):
        end = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return end


def _own_lines(data: bytes, end: int) -> Iterator[bytes]:
    """The lines of the first `end` bytes of `data` whose event is one of those that matter here."""
    start = 0
    while (found := data.find(_MARK, start, end)) >= 0:
        start = found + len(_MARK)
        if data.startswith(_NAMES, start):
            line_end = data.index(b"\n", start)
            yield data[data.rfind(b"\n", 0, found) + 1 : line_end]
            start = line_end
