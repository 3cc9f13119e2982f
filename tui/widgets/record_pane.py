"""One record: its envelope, its payload as a tree, the bytes it is stored in, and what it points to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from attrs import frozen
from textual import events
from textual.message import Message

from kd.views.safe_text import safe_text
from ledger.lines import Envelope, parse
from ledger.record import BlobRef
from tui.themes import Glyphs
from tui.widgets.painting import Pieces, wrapped
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["RecordPane", "record_rows"]

_NAME_CELLS = 15
_MAX_CELLS = 100_000
"""More than a line of the ledger holds; each row is wrapped to the width of the pane."""


@frozen
class _Row:
    pieces: Pieces
    target: int | BlobRef | None = None
    """A record or a blob that Enter opens."""


class RecordPane(VirtualLines):
    """The rows of one record; those that point somewhere can be opened."""

    DEFAULT_CSS = "RecordPane { height: 1fr; }"

    @dataclass
    class Followed(Message):
        """A row that points to another record or to a blob was opened."""

        target: int | BlobRef

    def __init__(self, *, id: str | None = None) -> None:
        self._rows = _Rows(())
        super().__init__(self._rows, id=id)
        self._line: bytes | None = None
        self._now_ms = 0

    def show(self, line: bytes | None, now_ms: int) -> None:
        """Show the record of `line`; None while it is being read."""
        if line == self._line and (self._rows or line is None):
            return
        self._line, self._now_ms = line, now_ms
        self._lay_out()
        self.chosen = 0
        self.scroll_to(y=0, animate=False, force=True, immediate=True)

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()
        super().on_resize(event)

    def do_open(self) -> None:
        if self.chosen < len(self._rows):
            target = self._rows[self.chosen].target
            if target is not None:
                self.post_message(self.Followed(target))

    def _lay_out(self) -> None:
        width = max(self.size.width - 1, 20)
        rows = () if self._line is None else tuple(_wrapped(record_rows(self._line, self._now_ms), width))
        self._rows = self.source = _Rows(rows)
        self.update()


class _Rows(tuple[_Row, ...]):
    """Rows as a list shows them."""

    __slots__ = ()

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        row = self[index]
        return row.pieces if row.target is None else (*row.pieces, (f" {glyphs.separator}", "accent"))


def record_rows(line: bytes, now_ms: int) -> Iterator[_Row]:
    """The rows of the record that `line` holds."""
    try:
        envelope = parse(line)
    except (msgspec.DecodeError, ValueError):
        yield _Row((("this line cannot be read: kd ledger fsck", "bad"),))
        yield from _bytes(line)
        return
    yield _Row(((safe_text(envelope.y), "bold text"),))
    yield from _envelope(envelope)
    yield _Row(())
    yield _Row((("payload", "muted"),))
    yield from _tree(msgspec.json.decode(envelope.e), 1)
    yield _Row(())
    yield from _bytes(line)


def _envelope(envelope: Envelope) -> Iterator[_Row]:
    when = datetime.fromtimestamp(envelope.t / 1000, UTC)
    index, size = envelope.b
    yield _fact("position", f"@{envelope.q:,}")
    yield _fact("stream", envelope.s)
    yield _fact("version", f"{envelope.v:,}")
    yield _fact("time", f"{when:%Y-%m-%d %H:%M:%S}.{envelope.t % 1000:03} UTC")
    if size > 1:
        yield _fact("batch", f"{index} of {size}")
    if envelope.k is not None:
        yield _fact("key", envelope.k)
    if envelope.m is not None:
        meta = envelope.m
        if meta.a is not None:
            yield _fact("actor", f"{meta.a}, as claimed")
        if meta.f is not None:
            yield _fact("fence", str(meta.f))
        if meta.r is not None:
            yield _fact("redactions", str(meta.r))
        if meta.z is not None:
            yield _Row((("cause".ljust(_NAME_CELLS), "muted"), (f"@{meta.z:,}", "accent")), meta.z)
    yield _fact("chain", envelope.c)


def _tree(value: Any, depth: int, name: str = "") -> Iterator[_Row]:
    lead = "  " * depth
    label = f"{lead}{safe_text(name)}"
    blob = _blob(value)
    if blob is not None:
        yield _Row(((f"{label} ".ljust(_NAME_CELLS + 1), "muted"), (f"blob {blob.sha256[:12]}… {blob.num_bytes:,} B", "accent")), blob)
    elif isinstance(value, dict) and value:
        if name:
            yield _Row(((label, "muted"),))
        for key, item in value.items():
            yield from _tree(item, depth + bool(name), key)
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        for index, item in enumerate(value):
            yield from _tree(item, depth, f"{name}[{index}]")
    else:
        yield _Row(((f"{label} ".ljust(_NAME_CELLS + 1), "muted"), (_plain(value), "text")))


def _blob(value: Any) -> BlobRef | None:
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    digest = fields.get("sha256", fields.get("$blob"))
    if not isinstance(digest, str) or fields.keys() not in ({"sha256", "num_bytes"}, {"$blob", "num_bytes"}):
        return None
    try:
        return BlobRef(sha256=digest, num_bytes=fields["num_bytes"])
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> str:
    return safe_text(value if isinstance(value, str) else msgspec.json.encode(value), max_cells=_MAX_CELLS)


def _bytes(line: bytes) -> Iterator[_Row]:
    yield _Row(((f"stored bytes, {len(line):,}", "muted"),))
    yield _Row(((safe_text(line, max_cells=_MAX_CELLS), "text"),))


def _fact(name: str, value: str) -> _Row:
    return _Row(((name.ljust(_NAME_CELLS), "muted"), (safe_text(value), "text")))


def _wrapped(rows: Iterator[_Row], width: int) -> Iterator[_Row]:
    for row in rows:
        for index, pieces in enumerate(wrapped(row.pieces, width) if row.pieces else [()]):
            yield _Row(pieces, row.target if index == 0 else None)
