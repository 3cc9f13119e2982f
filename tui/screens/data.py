"""What the teacher was asked in the open run, what became of each request, and every sample as it will be learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from kd.views.dataset_sample import PlannedPrompt, SampleTable, planned_prompts, reply_text
from kd.views.safe_text import safe_lines, safe_text
from kd.views.sample_text import SampleHead, SampleText
from ledger.record import BlobRef
from tui.feed.details import Absent, Details, read_blob
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.samples import SampleIndex, read_sample, read_sample_index
from tui.keymap import Keymap
from tui.messages import DetailReady, RecordChosen
from tui.screens.kd_screen import KdScreen
from tui.themes import UNICODE, glyphs_of
from tui.widgets.fact_lines import FactLines
from tui.widgets.filter_line import FilterLine
from tui.widgets.painting import Pieces
from tui.widgets.row_list import RowList, Rows
from tui.widgets.sample_rows import SAMPLE_COLUMNS, SampleRow, asked_line, attempts_block, count_lines, sample_cells, sample_rows
from tui.widgets.transcript import Block, ReadingText, Transcript

__all__ = ["DataScreen"]

_NARROW = 100
_HIDDEN = "texts are hidden: started with --no-content"


class DataScreen(KdScreen):
    """Samples and requests on the left, the text of the chosen one on the right."""

    number = 5
    title_word = "data"
    AUTO_FOCUS = "#samples VirtualLines"
    footer = ("open", "next_pane", "next_item", "filter", "blob", "origin", "copy_link", "live")
    DEFAULT_CSS: ClassVar[str] = """
    DataScreen #body { height: 1fr; }
    DataScreen #samples { width: 3fr; }
    DataScreen #counts { border-top: solid $kd-selection; }
    DataScreen #text { width: 2fr; border-left: solid $kd-selection; }
    DataScreen #text:focus { border-left: solid $kd-accent; }
    DataScreen.-narrow #samples, DataScreen.-narrow #text { width: 1fr; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.details = Details(feed, self.post_message)
        self._words: tuple[str, ...] = ()
        self._table: SampleTable | None = None
        self._index: SampleIndex | None = None
        self._all: tuple[SampleRow, ...] = ()
        self._rows: tuple[SampleRow, ...] = ()
        self._made_of: tuple[object, ...] = ()
        self._is_raw = False
        self._problems: dict[str, str] = {}
        """Why plan or samples cannot be read."""

    def compose_body(self) -> ComposeResult:
        yield FactLines(id="asked")
        yield FilterLine(placeholder="words of a row: rejected, split:test, kind:tool_use, reason:malformed, a scenario, a tool")
        with Horizontal(id="body"):
            yield RowList(id="samples")
            yield Transcript(id="text")
        yield FactLines(id="counts")

    def on_unmount(self) -> None:
        self.details.stop()

    def on_resize(self) -> None:
        self.set_class(self.size.width < _NARROW, "-narrow")

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self.details.is_idle

    def show(self, frame: Frame) -> None:
        table: SampleTable | None = frame.data
        self._table = table
        self._gather(frame)
        glyphs = glyphs_of(self.app)
        self.query_one("#asked", FactLines).lines = tuple(asked_line(table, glyphs))
        heads = () if self._index is None else self._index.heads
        counts = self.query_one("#counts", FactLines)
        problems = tuple(((f"{glyphs.failed} {what}: {said}", "bad"),) for what, said in self._problems.items())
        counts.lines = (*problems, *count_lines(table, heads, glyphs))
        counts.display = bool(counts.lines)
        self._show_rows()

    def header_facts(self, frame: Frame) -> str:
        table: SampleTable | None = frame.data
        if table is None or table.built is None:
            return ""
        return f"{table.built.num_samples:,} kept  {sum(table.built.dropped.values()):,} left out"

    def link_position(self) -> int | None:
        row = self._chosen()
        if row is not None and row.request is not None and row.request.position is not None:
            return row.request.position
        return None

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        self._is_raw = False
        self._show_text()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        self.query_one("#text", Transcript).focus()

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        self._words = tuple(message.text.casefold().split())
        self._show_rows()

    def on_detail_ready(self, message: DetailReady) -> None:
        self.redraw()

    def do_filter(self) -> None:
        self.query_one(FilterLine).call()

    def do_blob(self) -> None:
        """The reply as it is stored, and back."""
        self._is_raw = not self._is_raw
        self._show_text()

    def do_origin(self) -> bool:
        position = self.link_position()
        if position is None:
            return False
        self.post_message(RecordChosen(position))
        return True

    def do_next_item(self) -> None:
        self.query_one("#samples", RowList).do_next_item()

    def do_previous_item(self) -> None:
        self.query_one("#samples", RowList).do_previous_item()

    def _gather(self, frame: Frame) -> None:
        """Rows anew, if what they are made of has changed."""
        table = self._table
        self._problems = {}
        if table is None:
            self._all, self._index, self._made_of = (), None, ()
            return
        prompts = self._prompts(table)
        built = table.built
        index = None if built is None else self._samples(built.samples)
        self._index = index if isinstance(index, SampleIndex) else None
        if (built is not None and index is None) or (table.plan is not None and prompts is None):
            self._all, self._made_of = (), ()  # in a moment all of it is here
            return
        made_of = (table.run, len(table.keys), len(table.facts), len(prompts or ()), self._index is None)
        if made_of != self._made_of:
            self._made_of = made_of
            self._all = tuple(sample_rows(table, self._index, prompts or {}))

    def _prompts(self, table: SampleTable) -> Mapping[str, PlannedPrompt] | None:
        """What was asked, none if it cannot be read; None while it is being read."""
        if table.plan is None:
            return {}
        ref = table.plan.plan
        found = self.details.get(("plan", ref), lambda store: planned_prompts(read_blob(store, ref)))
        if isinstance(found, Absent):
            self._problems["plan"] = safe_text(found.sentence)
            return {}
        return found

    def _samples(self, ref: BlobRef) -> SampleIndex | Absent | None:
        found = self.details.get(("samples", ref), lambda store: read_sample_index(store, ref))
        if isinstance(found, Absent):
            self._problems["samples"] = safe_text(found.sentence)
        return found

    def _show_rows(self) -> None:
        self._rows = tuple(row for row in self._all if all(word in row.searched for word in self._words)) if self._words else self._all
        rows, glyphs = self._rows, glyphs_of(self.app)
        self.query_one("#samples", RowList).rows = Rows(
            columns=SAMPLE_COLUMNS,
            num_rows=len(rows),
            cells=lambda index: sample_cells(rows[index], glyphs),
            key=lambda index: rows[index].key,
            empty=self._empty(),
        )
        self._show_text()

    def _empty(self) -> str:
        frame, table = self.feed.frame, self._table
        if self._words:
            return "no row holds these words; Esc clears them"
        if frame.run is None:
            return "no run is open: choose one on screen 1"
        if table is None or frame.is_catching_up:
            return f"reading the run{UNICODE.ellipsis}"
        if table.built is not None and self._index is None:
            found = self._samples(table.built.samples)
            return safe_text(found.sentence) if isinstance(found, Absent) else f"reading the samples{UNICODE.ellipsis}"
        return "nothing was asked yet: generation makes the plan first"

    def _show_text(self) -> None:
        row = self._chosen()
        pane = self.query_one("#text", Transcript)
        if row is None:
            pane.text = ReadingText(empty="no sample is chosen")
        else:
            pane.text = ReadingText(blocks=tuple(self._blocks(row)), key=(row.key, self._is_raw))

    def _blocks(self, row: SampleRow) -> Iterator[Block]:
        if not self.feed.settings.content:
            yield Block(title="TEXT", note=_HIDDEN)
        elif self._is_raw:
            yield from self._stored_reply(row)
        elif row.head is not None and self._index is not None:
            yield from self._sample_blocks(row.head, self._index.ref)
            if row.decision == "corrected":
                yield from self._reply(row, note="of the teacher; it is not learnt")
        else:
            yield from self._request_blocks(row)
        if row.request is not None:
            yield attempts_block(row.request)

    def _sample_blocks(self, head: SampleHead, ref: BlobRef) -> Iterator[Block]:
        text = self.details.get(("sample", ref, head.offset), lambda store: read_sample(store, ref, head))
        if not isinstance(text, SampleText):
            yield _waiting("SAMPLE", text)
            return
        for part in text.parts:
            tone, bar = ("accent", "▌") if part.is_supervised else ("good" if part.title == "RIGHT CALL" else "muted", "")
            yield Block(title=part.title, note=part.note, tone=tone, bar=bar, lines=tuple(((line, "text"),) for line in part.lines))

    def _request_blocks(self, row: SampleRow) -> Iterator[Block]:
        if row.prompt is None:
            yield Block(title="PROMPT", note=self._problems.get("plan", "it is not planned yet"))
        else:
            for role, content in row.prompt.messages:
                yield Block(title=safe_text(role.upper()), lines=_lines(content))
        yield from self._reply(row, note="became no sample" if row.is_left_out else "")

    def _reply(self, row: SampleRow, *, note: str) -> Iterator[Block]:
        ref = None if row.request is None else row.request.reply
        if ref is None:
            return
        text = self.details.get(("reply", ref), lambda store: reply_text(read_blob(store, ref)))
        yield Block(title="REPLY", note=note, tone="accent", lines=_lines(text)) if isinstance(text, str) else _waiting("REPLY", text)

    def _stored_reply(self, row: SampleRow) -> Iterator[Block]:
        ref = None if row.request is None else row.request.reply
        if ref is None:
            yield Block(title="STORED REPLY", note="no teacher was asked for this sample; b goes back")
            return
        data = self.details.get(("blob", ref), lambda store: read_blob(store, ref)[: 1 << 16])
        note = f"blob {ref.sha256[:16]}{UNICODE.ellipsis}, {ref.num_bytes:,} bytes; b goes back"
        yield Block(title="STORED REPLY", note=note, lines=_lines(data)) if isinstance(data, bytes) else _waiting("STORED REPLY", data)

    def _chosen(self) -> SampleRow | None:
        index = self.query_one("#samples", RowList).chosen
        return self._rows[index] if index is not None and index < len(self._rows) else None


def _lines(text: str | bytes) -> tuple[Pieces, ...]:
    return tuple(((line, "text"),) for line in safe_lines(text))


def _waiting(title: str, found: object) -> Block:
    return Block(title=title, note=safe_text(found.sentence) if isinstance(found, Absent) else f"reading{UNICODE.ellipsis}")
