"""The records of a folder after a cursor, as they come, whoever writes them.

Catching up and following live are one path. Reading never waits, drops nothing, and hands out only verified lines of
complete batches.
"""

from __future__ import annotations

from collections.abc import Callable

from ledger.batches import BatchReader, Learn, Vouch
from ledger.chain import chain_bytes, chain_text
from ledger.errors import TamperedError
from ledger.layout import Layout
from ledger.lines import Envelope
from ledger.record import Cursor, Record
from ledger.scanning import Lines, Place
from ledger.selection import Selection
from ledger.settings import LedgerSettings
from ledger.watch import Watch, watch_folder

__all__ = ["FileTail"]


class FileTail:
    """Follows the segment files from `after` on; `place` lies at or before it."""

    def __init__(
        self,
        layout: Layout,
        place: Place,
        after: Cursor,
        selection: Selection,
        decode: Callable[[bytes, Envelope], Record],
        settings: LedgerSettings,
        learn: Learn | None = None,
        vouch: Vouch | None = None,
    ) -> None:
        self._layout = layout
        self._reader = BatchReader(layout, place, chunk_bytes=settings.read_chunk_bytes, learn=learn, vouch=vouch)
        self._selection = selection
        self._decode = decode
        self._settings = settings
        self._watch: Watch | None = None
        self._after = after
        self._skipped: Lines = self._go_to(after)

    @property
    def cursor(self) -> Cursor:
        """The place behind everything that was read, whether it matched or not."""
        place = self._reader.place
        return self._after if self._skipped else Cursor(position=place.position, chain=chain_text(place.chain))

    @property
    def check_seconds(self) -> float:
        """How long to wait for a wake-up before reading anyway."""
        return self._watching().check_seconds

    def read(self) -> list[Record]:
        """New complete records, about one chunk; nothing if there are none now."""
        if self._watch is not None:
            self._watch.drain()
        while True:
            lines, self._skipped = self._skipped or self._next(), []
            records = [self._decode(line, envelope) for line, envelope in self._selection.choose(lines)]
            if records or not lines:
                return records

    def wakeup_fileno(self) -> int | None:
        """A descriptor that becomes readable when there may be more, or None where the system has no such thing."""
        return self._watching().fileno()

    def use_watch(self, watch: Watch) -> None:
        """Be woken by `watch` instead of by what the system offers."""
        self._watch = watch

    def close(self) -> None:
        self._reader.close()
        if self._watch is not None:
            self._watch.close()

    def _next(self) -> Lines:
        segment = self._reader.place.segment
        lines = self._reader.read()
        if self._watch is not None and self._reader.place.segment != segment:
            self._watch.move(self._layout.segment(self._reader.place.segment))
        return lines

    def _watching(self) -> Watch:
        if self._watch is None:
            settings = self._settings
            self._watch = watch_folder(
                self._layout.segments, check_seconds=settings.follow_check_seconds, poll_seconds=settings.follow_poll_seconds
            )
            self._watch.move(self._layout.segment(self._reader.place.segment))
        return self._watch

    def _go_to(self, after: Cursor) -> Lines:
        """Read up to `after`; the lines behind it that came along."""
        lines: Lines = []
        chain = self._reader.place.chain
        while self._reader.place.position < after.position:
            lines = self._reader.read()
            if not lines:
                break
            chain = chain_bytes(lines[-1][1].c)
        behind = [(line, envelope) for line, envelope in lines if envelope.q >= after.position]
        if len(behind) < len(lines):
            chain = chain_bytes(lines[len(lines) - len(behind) - 1][1].c)
        if self._reader.place.position < after.position or chain != chain_bytes(after.chain):
            self._reader.close()
            raise TamperedError(f"the cursor at position {after.position} is no place of this ledger")
        return behind
