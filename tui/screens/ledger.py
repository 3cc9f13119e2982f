"""Every record of the ledger, with its place in the chain, its bytes and its proof."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.strip import Strip
from textual.widget import Widget

from kd.views.filter_syntax import FilterError
from kd.views.record_filter import parse_filter
from kd.views.safe_text import safe_text
from ledger.errors import LedgerError
from ledger.lines import parse
from ledger.proofs import prove
from ledger.record import BlobRef
from tui.feed.feed import Feed
from tui.feed.filters import Found
from tui.feed.frame import Frame
from tui.keymap import Keymap
from tui.messages import SeekAsked
from tui.screens.blob_text import BlobText
from tui.screens.kd_screen import KdScreen
from tui.themes import Glyphs, palette_of
from tui.widgets.figures import span
from tui.widgets.filter_line import FilterLine
from tui.widgets.painting import Pieces, fitted, paint
from tui.widgets.record_pane import RecordPane
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["LedgerScreen"]

_NARROW = 100
_STREAM_CELLS = 18
_RUN_CELLS = 6
_HEAD_COLUMNS = f"{'seq':>12}  {'age':>11}  {'stream':<{_STREAM_CELLS}}  type and payload"
_NEIGHBOUR_RECORDS = 512


class LedgerScreen(KdScreen):
    """A line for each record, newest last; a filter leaves those that match."""

    number = 4
    title_word = "ledger"
    AUTO_FOCUS = "#lines"
    needs_run = False
    footer = ("open", "filter", "origin", "previous_item", "next_item", "prove", "play", "live", "follow", "copy_link")
    DEFAULT_CSS: ClassVar[str] = """
    LedgerScreen Horizontal { height: 1fr; }
    LedgerScreen #records { width: 1fr; }
    LedgerScreen RecordPane { width: 42%; max-width: 80; border-left: solid $kd-panel; padding-left: 1; }
    LedgerScreen.-narrow RecordPane { display: none; }
    LedgerScreen.-one-record RecordPane { display: block; width: 1fr; max-width: 100%; border: none; padding: 0; }
    LedgerScreen.-one-record #records { display: none; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self._records = _Records(feed)
        self._anchor: int | None = None
        """The record that was chosen last, also while none matches."""
        self._complaint = ""
        self._wanted: int | None = None
        """A record that is to be chosen once it is there."""

    def compose_body(self) -> ComposeResult:
        yield FilterLine(placeholder="words, or e.g. type:training.* and e.grad_norm>10 and not stage:export")
        with Horizontal():
            with Vertical(id="records"):
                yield _Line((_HEAD_COLUMNS, "muted"), background="panel")
                yield VirtualLines(self._records, id="lines")
            yield RecordPane()
        yield _Line(("", "muted"))

    def on_mount(self) -> None:
        lines = self.query_one("#lines", VirtualLines)
        lines.is_following = True
        super().on_mount()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < _NARROW, "-narrow")

    @property
    def is_settled(self) -> bool:
        position = self.chosen_position
        pages = self.feed.pages
        has_line = position is None or pages is None or pages.line(position) is not None
        return super().is_settled and has_line

    @property
    def chosen_position(self) -> int | None:
        """The record that keys act on."""
        index = self.query_one("#lines", VirtualLines).chosen
        return self._records.position(index) if index < len(self._records) else None

    def link_position(self) -> int | None:
        return self.chosen_position

    def show(self, frame: Frame) -> None:
        if self.feed.scan is not None:
            self.feed.scan.extend_to(frame.end)
        lines = self.query_one("#lines", VirtualLines)
        chosen = self.chosen_position
        self._anchor = self._anchor if chosen is None else chosen
        position = self._anchor if self._wanted is None else self._wanted
        self._records.go_on(frame)
        lines.update()
        if self._wanted is not None and self._wanted < self._records.end:
            lines.is_following, self._wanted = False, None
        if position is not None and not lines.is_following:
            lines.chosen = self._records.index(position)
        self._show_record()

    def more_is_here(self) -> None:
        self.redraw()

    def header_facts(self, frame: Frame) -> str:
        signed = f"  head {frame.head_size:,}" if frame.head_size else "  no signed head"
        return f"{frame.end:,} records  linked to {frame.linked_to:,}{signed}"

    def choose_record(self, position: int) -> None:
        """Choose the record at `position`, although a filter leaves it out."""
        self._wanted = position
        if self.is_mounted:
            if self.feed.scan is not None:
                self.query_one(FilterLine).value = ""
            self.redraw()

    def on_virtual_lines_moved(self, message: VirtualLines.Moved) -> None:
        if message.lines.id == "lines":
            self._show_record()

    def on_virtual_lines_opened(self, message: VirtualLines.Opened) -> None:
        if message.lines.id == "lines":
            self.do_zoom()

    def on_record_pane_followed(self, message: RecordPane.Followed) -> None:
        if not isinstance(message.target, BlobRef):
            self.choose_record(message.target)
        elif self.feed.settings.content:
            self.app.push_screen(BlobText(self.feed, message.target))
        else:
            self.notify("Texts are hidden: started with --no-content, or `content: false` in tui.yaml.", severity="warning", markup=False)

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        try:
            condition = parse_filter(message.text, now_ms=self.feed.frame.now_ms) if message.text.strip() else None
        except FilterError as error:
            self._complaint = str(error)
        else:
            self._complaint = ""
            if not message.is_final:
                self.feed.filter(condition)
        self.redraw()

    def do_filter(self) -> None:
        self.query_one(FilterLine).call()

    def do_zoom(self) -> None:
        """Give the record the whole screen, and take it back."""
        self.toggle_class("-one-record")
        pane = self.query_one(RecordPane)
        (pane if self.has_class("-one-record") else self.query_one("#lines")).focus()

    def do_back(self) -> bool:
        if self.has_class("-one-record"):
            self.do_zoom()
            return True
        return False

    def do_origin(self) -> None:
        line = self._line()
        cause = None if line is None else _cause(line)
        if cause is None:
            self.notify("The record names no cause.", markup=False)
        else:
            self.choose_record(cause)

    def do_play(self) -> None:
        position = self.chosen_position
        if position is not None:
            self.post_message(SeekAsked(position))

    def do_next_record(self) -> None:
        self.query_one("#lines", VirtualLines).do_down()

    def do_previous_record(self) -> None:
        self.query_one("#lines", VirtualLines).do_up()

    def do_next_match(self) -> None:
        self.do_next_record()

    def do_previous_match(self) -> None:
        self.do_previous_record()

    def do_next_item(self) -> None:
        self._go_in_stream(1)

    def do_previous_item(self) -> None:
        self._go_in_stream(-1)

    def do_prove(self) -> None:
        position, frame = self.chosen_position, self.feed.frame
        if position is None or self.feed.store is None:
            return
        if not self.feed.may_save:
            self.notify("Nothing is saved from a browser: prove it with kd prove.", severity="warning", markup=False)
            return
        if position >= frame.head_size:
            said = "No signed head is over this record: sign one with kd ledger head --sign, then prove it."
            self.notify(said, severity="warning", markup=False)
            return
        self._write_proof(position)

    @work(thread=True, exit_on_error=False)
    def _write_proof(self, position: int) -> None:
        assert self.feed.store is not None
        out = Path(f"record-{position}.tlog-proof")
        try:
            out.write_text(prove(self.feed.store, position), encoding="utf-8")
        except (LedgerError, ValueError, OSError) as error:
            self.app.call_from_thread(partial(self.notify, str(error), severity="error", markup=False))
        else:
            self.app.call_from_thread(partial(self.notify, f"The proof of @{position:,} is in {out}.", markup=False))

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _go_in_stream(self, direction: int) -> None:
        line, store = self._line(), self.feed.store
        if line is None or store is None:
            return
        envelope = parse(line)
        try:
            found = _neighbour(self.feed, envelope.q, f'"s":"{envelope.s}"'.encode(), direction)
        except (LedgerError, OSError) as error:
            self.app.call_from_thread(partial(self.notify, str(error), severity="error", markup=False))
            return
        if found is None:
            self.app.call_from_thread(partial(self.notify, f"There is no such record in {envelope.s}.", markup=False))
        else:
            self.app.call_from_thread(self.choose_record, found)

    def _line(self) -> bytes | None:
        position = self.chosen_position
        return None if position is None or self.feed.pages is None else self.feed.pages.line(position)

    def _show_record(self) -> None:
        try:
            pane, status = self.query_one(RecordPane), self.query(_Line).last()
        except NoMatches:
            return
        pane.show(self._line(), self.feed.frame.now_ms)
        status.show(*self._status())

    def _status(self) -> Pieces:
        if self._complaint:
            return ((self._complaint, "bad"),)
        scan = self.feed.scan
        if scan is None:
            return (("· not linked yet   ✓ linked from record 0 in this session   ◈ also under a signed head   ✗ broken", "muted"),)
        if scan.problem is not None:
            return ((safe_text(scan.problem), "bad"),)
        scanned = f"  {100 * scan.scanned_fraction:.0f} % looked through" if scan.scanned_fraction < 1 else ""
        return ((f"{len(scan):,} matches{' so far' if scanned else ''}", "text"), (scanned, "muted"))


class _Records:
    """The records up to the frame's position, or those of them that match."""

    def __init__(self, feed: Feed) -> None:
        self.frame = feed.frame
        self._feed = feed
        self._found: Found | None = None

    def go_on(self, frame: Frame) -> None:
        """Show the records of `frame`, and what matches by now; until then every line stays what it is."""
        self.frame = frame
        self._found = None if self._feed.scan is None else self._feed.scan.found()

    @property
    def end(self) -> int:
        """Behind the last record that is shown."""
        frame = self.frame
        return frame.end if frame.is_live else frame.position + 1

    def __len__(self) -> int:
        return self.end if self._found is None else self._found.num_before(self.end)

    def position(self, index: int) -> int:
        return index if self._found is None else self._found[index]

    def index(self, position: int) -> int:
        """Where the record at `position` stands, or the next one that is shown."""
        return position if self._found is None else self._found.num_before(position)

    def draw(self, index: int, width: int, glyphs: Glyphs) -> Pieces:
        position = self.position(index)
        line = None if self._feed.pages is None else self._feed.pages.line(position)
        mark = self._mark(position, glyphs)
        seq = (f"{position:>10,}  ", "text")
        if line is None:
            problem = None if self._feed.pages is None else self._feed.pages.problem
            return (mark, seq, ("reading" if problem is None else safe_text(problem), "muted" if problem is None else "bad"))
        try:
            envelope = parse(line)
        except (msgspec.DecodeError, ValueError):
            return (mark, seq, (safe_text(line, max_cells=width), "bad"))
        age = span(max(self.frame.now_ms - envelope.t, 0) / 1000)
        stream = fitted(((_short(envelope.s), "muted"),), _STREAM_CELLS, ellipsis=glyphs.ellipsis)
        payload = safe_text(bytes(envelope.e), max_cells=max(width, 80))
        return (mark, seq, (f"{age:>11}  ", "muted"), *stream, (f"  {safe_text(envelope.name)}  ", "text"), (payload, "muted"))

    def _mark(self, position: int, glyphs: Glyphs) -> tuple[str, str]:
        frame = self.frame
        if position >= frame.linked_to:
            return (f"{glyphs.failed} ", "bad") if frame.damage is not None else (f"{glyphs.unlinked} ", "muted")
        return (f"{glyphs.signed} ", "good") if position < frame.head_size else (f"{glyphs.linked} ", "good")


class _Line(Widget):
    """One line of words."""

    DEFAULT_CSS = "_Line { height: 1; }"

    def __init__(self, *pieces: tuple[str, str], background: str = "background") -> None:
        super().__init__()
        self._pieces: Pieces = pieces
        self._background = background

    def show(self, *pieces: tuple[str, str]) -> None:
        if pieces != self._pieces:
            self._pieces = pieces
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return paint(self._pieces, width=self.size.width, palette=palette_of(self.app), background=self._background)


def _short(stream: str) -> str:
    """`f1651c/training`: the stage behind the end of the run's id."""
    family, _, rest = stream.partition("/")
    run, _, stage = rest.partition("/")
    if not rest:
        return stream
    return f"{run[-_RUN_CELLS:]}/{stage}" if stage else f"{family}/{run[-_RUN_CELLS:]}"


def _cause(line: bytes) -> int | None:
    try:
        meta = parse(line).m
    except (msgspec.DecodeError, ValueError):
        return None
    return None if meta is None else meta.z


def _neighbour(feed: Feed, position: int, mark: bytes, direction: int) -> int | None:
    """The nearest record before or after `position` whose line holds `mark`."""
    assert feed.store is not None
    end = feed.frame.end
    while 0 <= position < end:
        if direction > 0:
            start, stop = position + 1, min(position + 1 + _NEIGHBOUR_RECORDS, end)
        else:
            start, stop = max(position - _NEIGHBOUR_RECORDS, 0), position
        found = [at for at, line in enumerate(feed.store.lines(start, stop), start) if mark in line]
        if found:
            return found[0] if direction > 0 else found[-1]
        position = stop if direction > 0 and stop < end else start if direction < 0 and start > 0 else -1
    return None
