"""What the evaluation of the open run measured, and the items behind each number, answer beside answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from kd.views.comparison import compare_measurements
from kd.views.eval_table import EvalTable, Flips
from kd.views.item_transcript import ItemTranscript
from kd.views.safe_text import safe_text
from tui.feed.details import Absent, Details
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.run_folds import OtherRuns
from tui.feed.samples import ItemTexts
from tui.keymap import Keymap
from tui.messages import DetailReady, RecordChosen
from tui.screens.kd_screen import KdScreen
from tui.themes import UNICODE, Glyphs, glyphs_of
from tui.widgets.fact_lines import FactLines
from tui.widgets.filter_line import FilterLine
from tui.widgets.item_figures import has_success, score_name
from tui.widgets.item_rows import (
    BOTH,
    ArmSide,
    ItemPair,
    answer_blocks,
    headline,
    item_cells,
    item_columns,
    item_pairs,
    marked_texts,
    searched,
    side_flips,
)
from tui.widgets.metric_rows import MetricLine, MetricRows
from tui.widgets.painting import Pieces
from tui.widgets.row_list import RowList, Rows
from tui.widgets.transcript import Block, ReadingText, Transcript

__all__ = ["EvaluationScreen"]

_NARROW = 100
_FIRST_METRICS = {"lm": "nll_nats", "tool_use": "right_call", "speed": "tokens_per_second"}
_HIDDEN = "texts are hidden: started with --no-content"
_HIDDEN_TEXT: tuple[Pieces, ...] = (((_HIDDEN, "muted"),),)


class EvaluationScreen(KdScreen):
    """Measurements above; beneath, the items of the chosen one and what was answered."""

    number = 6
    title_word = "evaluation"
    AUTO_FOCUS = "#metrics VirtualLines"
    footer = ("open", "next_pane", "next_item", "next_match", "call_diff", "baseline", "filter", "origin", "copy_link", "live")
    DEFAULT_CSS: ClassVar[str] = """
    EvaluationScreen #metrics { height: 2fr; min-height: 5; }
    EvaluationScreen #below { height: 3fr; }
    EvaluationScreen #left { width: 46; }
    EvaluationScreen #items { height: 3fr; }
    EvaluationScreen #prompt { height: 2fr; border-top: solid $kd-selection; }
    EvaluationScreen .answer { width: 1fr; border-left: solid $kd-selection; }
    EvaluationScreen .answer:focus { border-left: solid $kd-accent; }
    EvaluationScreen #prompt:focus { border-top: solid $kd-accent; }
    EvaluationScreen.-narrow #left { width: 34; }
    EvaluationScreen.-narrow #prompt, EvaluationScreen.-narrow #other { display: none; }
    """

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.details = Details(feed, self.post_message)
        self._folds = OtherRuns(self.details)
        self._texts = ItemTexts(self.details)
        self._baseline: str | None = None
        self._is_diff = True
        self._words: tuple[str, ...] = ()
        self._table: EvalTable | None = None
        self._metrics: tuple[MetricLine, ...] = ()
        self._all: tuple[ItemPair, ...] = ()
        self._pairs: tuple[ItemPair, ...] = ()
        """Those of `_all` that hold the filter's words."""
        self._flips: Flips | None = None
        self._made_of: tuple[object, ...] = ()
        self._sides: tuple[ArmSide, ...] = ()

    def compose_body(self) -> ComposeResult:
        yield FactLines(id="progress")
        yield MetricRows(id="metrics")
        yield FactLines(id="flips", classes="-title")
        yield FilterLine(placeholder="words of an item's row: better, worse, wrong, truncated, an id")
        with Horizontal(id="below"):
            with Vertical(id="left"):
                yield RowList(id="items")
                yield Transcript(id="prompt")
            yield Transcript(id="other", classes="answer")
            yield Transcript(id="this", classes="answer")

    def on_unmount(self) -> None:
        self.details.stop()

    def on_resize(self) -> None:
        self.set_class(self.size.width < _NARROW, "-narrow")
        self._show_answers()

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self.details.is_idle

    def show(self, frame: Frame) -> None:
        self._table = frame.evaluation
        glyphs = glyphs_of(self.app)
        self._metrics = tuple(self._metric_lines(frame))
        self.query_one("#progress", FactLines).lines = tuple(self._progress(frame, glyphs))
        has_baseline = self._baseline is not None
        self.query_one("#metrics", MetricRows).show_metrics(self._metrics, glyphs, has_baseline=has_baseline, empty=_empty(frame))
        self._show_items()

    def header_facts(self, frame: Frame) -> str:
        return "" if self._baseline is None else f"baseline {self._baseline}"

    def link_position(self) -> int | None:
        if self.query_one("#metrics", MetricRows).lines.has_focus:
            line = self._chosen_metric()
            return None if line is None else line.row.position
        pair = self._chosen_pair()
        return None if pair is None else pair.item.position

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        if message.list.id == "metrics":
            self._show_items()
        else:
            self._show_answers()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        if message.list.id == "metrics":
            self.query_one("#items", RowList).focus()
        elif self.focused is not self.query_one("#this"):
            self.query_one("#this", Transcript).focus()

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        self._words = tuple(message.text.casefold().split())
        self._show_items()

    def on_detail_ready(self, message: DetailReady) -> None:
        self.redraw()

    def do_filter(self) -> None:
        self.query_one(FilterLine).call()

    def do_call_diff(self) -> None:
        self._is_diff = not self._is_diff
        self._show_answers()

    def do_baseline(self) -> None:
        """The next other run that has measurements; after the last one, none."""
        frame = self.feed.frame
        runs = [run for run, view in frame.runs.items() if view.measurements and run != frame.run]
        marked = [run for run in self.feed.marked if run in runs]
        order = [None, *marked, *(run for run in runs if run not in marked)]
        if len(order) == 1:
            self.notify("There is no other run with measurements in this ledger.", severity="warning", markup=False)
        self._baseline = order[(order.index(self._baseline) + 1) % len(order)] if self._baseline in order else None
        self.redraw()

    def do_next_match(self) -> None:
        self._go_to_flip(1)

    def do_previous_match(self) -> None:
        self._go_to_flip(-1)

    def do_next_item(self) -> None:
        self.query_one("#items", RowList).do_next_item()

    def do_previous_item(self) -> None:
        self.query_one("#items", RowList).do_previous_item()

    def do_origin(self) -> bool:
        position = self.link_position()
        if position is None:
            return False
        self.post_message(RecordChosen(position))
        return True

    def _metric_lines(self, frame: Frame) -> Iterator[MetricLine]:
        if self._table is None:
            return
        facts = None if self._table is None else self._folds.beside(frame, self._baseline, self._table)
        compared = {} if facts is None else {(row.suite, row.slice, row.metric): row for row in compare_measurements(facts)}
        for row in self._table.rows():
            found = row.measurement
            beside = compared.get((found.suite, found.slice, found.metric))
            if beside is None:
                yield MetricLine(row=row, is_waiting=self._baseline is not None)
            else:
                yield MetricLine(row=row, baseline=beside.measurements[0], reason="; ".join(beside.reasons))

    def _progress(self, frame: Frame, glyphs: Glyphs) -> Iterator[Pieces]:
        table = self._table
        if table is None or table.config is None:
            yield ((f"{glyphs.waiting} not evaluated yet", "bold muted"), ("   it begins when the packages are converted", "muted"))
            return
        is_done = bool(table.num_planned) and len(table.items) >= table.num_planned
        glyph, tone = (glyphs.done, "good") if is_done else (glyphs.running, "accent")
        errors = table.num_errors
        yield (
            (f"{glyph} {len(table.items):,} of {table.num_planned:,} answers", f"bold {tone}"),
            *((f"   {suite.suite} {len(suite.item_ids)} items × {', '.join(suite.arms)}", "muted") for suite in table.suites),
            *(((f"   {errors} errors", "bad"),) if errors else ()),
        )
        line = self._chosen_metric()
        if self._baseline is not None:
            reason = "" if line is None else line.reason
            waits = bool(self._metrics) and self._metrics[0].is_waiting
            said = f"reading it{glyphs.ellipsis}" if waits else f"cannot be compared: {reason}" if reason else "comparable"
            yield (("baseline ", "muted"), (self._baseline, "text"), (f"   {safe_text(said)}", "warn" if reason else "muted"))

    def _show_items(self) -> None:
        glyphs = glyphs_of(self.app)
        suite, arm, metric = self._subject()
        self._sides = tuple(self._both_sides(suite, arm)) if suite else ()
        made_of = (metric, self._words, *((side.name, side.table.run, side.arm, len(side.table.items)) for side in self._sides))
        if made_of != self._made_of:
            self._made_of = made_of
            name = score_name(metric)
            self._flips = side_flips(self._sides, name) if has_success(name) else None
            self._all = item_pairs(self._sides, self._flips)
            self._pairs = tuple(pair for pair in self._all if all(word in searched(pair, name) for word in self._words))
        shown = self._pairs
        names = [side.name for side in reversed(self._sides)]
        self.query_one("#flips", FactLines).lines = (headline(self._sides, metric, self._flips, len(shown), len(self._all), glyphs),)
        self.query_one("#items", RowList).rows = Rows(
            columns=item_columns(names),
            num_rows=len(shown),
            cells=lambda index: item_cells(shown[index], metric, glyphs),
            key=lambda index: shown[index].item.event.item_id,
            empty="no item's row holds these words" if self._words else "no item was answered yet",
        )
        self._show_answers()

    def _subject(self) -> tuple[str, str, str]:
        """Suite, arm and metric whose items are shown: of the chosen measurement, or of the newest item while nothing is measured."""
        line = self._chosen_metric()
        if line is not None:
            found = line.row.measurement
            return found.suite, found.slice, found.metric
        if self._table is None or not len(self._table.items):
            return "", "", ""
        newest = self._table.items[-1].event
        return newest.suite, newest.arm, _FIRST_METRICS[newest.suite]

    def _both_sides(self, suite: str, arm: str) -> Iterator[ArmSide]:
        """The other side first: the baseline's same arm, or else another arm of this run."""
        assert self._table is not None
        if self._baseline is not None:
            facts = self._folds.facts(self.feed.frame, self._baseline)
            if facts is not None:
                yield ArmSide(name="baseline", table=facts.evaluation, suite=suite, arm=arm)
        else:
            arms = next((plan.arms for plan in self._table.suites if plan.suite == suite), ())
            other = next((each for each in (*arms[arms.index(arm) + 1 :], *arms) if each != arm), None) if arm in arms else None
            if other is not None:
                yield ArmSide(name=other, table=self._table, suite=suite, arm=other)
        yield ArmSide(name="this run" if self._baseline else arm, table=self._table, suite=suite, arm=arm)

    def _show_answers(self) -> None:
        if not self.is_mounted:
            return
        pair, is_narrow = self._chosen_pair(), self.has_class("-narrow")
        if pair is None:
            for id in ("prompt", "other", "this"):
                self.query_one(f"#{id}", Transcript).text = ReadingText(empty="no item is chosen")
            return
        prompt = self._prompt(pair)
        other, this = self._answers(pair)
        item_id = pair.item.event.item_id
        self.query_one("#prompt", Transcript).text = ReadingText(blocks=prompt, key=item_id)
        self.query_one("#other", Transcript).text = ReadingText(blocks=other, key=item_id)
        self.query_one("#this", Transcript).text = ReadingText(blocks=(*prompt, *this, *other) if is_narrow else this, key=item_id)

    def _prompt(self, pair: ItemPair) -> tuple[Block, ...]:
        text = self._texts.sample(self.feed.frame, pair.item.event.item_id) if self.feed.settings.content else _HIDDEN
        if isinstance(text, str):
            return (Block(title="PROMPT", note=text),)
        parts = [part for part in text.parts if part.title != "WHERE FROM" and not part.is_supervised and part.title != "RIGHT CALL"]
        blocks = [Block(title=part.title, note=part.note, lines=tuple(((line, "text"),) for line in part.lines)) for part in parts]
        place = next((number for number, block in enumerate(blocks) if block.title == "TOOLS"), len(blocks))
        if text.gold_calls:
            blocks.insert(place, Block(title="RIGHT CALL", tone="good", lines=tuple(((call, "text"),) for call in text.gold_calls)))
        return tuple(blocks)

    def _answers(self, pair: ItemPair) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        """Blocks of the other side and of this one; their texts marked where they differ."""
        glyphs = glyphs_of(self.app)
        both = [pair.other, pair.item] if len(self._sides) == BOTH else [pair.item]
        said = [None if item is None else self._texts.transcript(item) for item in both]
        texts: list[tuple[Pieces, ...]] = [
            tuple(((line, "text"),) for line in one.text) if isinstance(one, ItemTranscript) else () for one in said
        ]
        if self._is_diff and len(said) == BOTH and all(isinstance(one, ItemTranscript) and one.has_text for one in said):
            texts = [*marked_texts(said)]
        blocks = [
            answer_blocks(side, item, one, text if self.feed.settings.content else _HIDDEN_TEXT, glyphs)
            for side, item, one, text in zip(self._sides, both, said, texts, strict=True)
        ]
        nothing = (Block(title="NO OTHER SIDE", note="b chooses a run to compare with"),)
        return (blocks[0], blocks[1]) if len(blocks) == BOTH else (nothing, blocks[0])

    def _chosen_metric(self) -> MetricLine | None:
        index = self.query_one("#metrics", MetricRows).chosen
        return self._metrics[index] if index is not None and index < len(self._metrics) else None

    def _chosen_pair(self) -> ItemPair | None:
        index = self.query_one("#items", RowList).chosen
        return self._pairs[index] if index is not None and index < len(self._pairs) else None

    def _go_to_flip(self, step: int) -> None:
        items = self.query_one("#items", RowList)
        start = items.chosen or 0
        order = [(start + step * number) % len(self._pairs) for number in range(1, len(self._pairs))] if self._pairs else []
        found = next((index for index in order if self._pairs[index].change), None)
        if found is None:
            self.notify("No item is better on one side and worse on the other.", markup=False)
        else:
            items.choose(found)


def _plain(said: ItemTranscript | Absent | None) -> tuple[Pieces, ...]:
    return tuple(((line, "text"),) for line in said.text) if isinstance(said, ItemTranscript) else ()


def _empty(frame: Frame) -> str:
    if frame.run is None:
        return "no run is open: choose one on screen 1"
    if frame.evaluation is None or frame.is_catching_up:
        return f"reading the run{UNICODE.ellipsis}"
    return "measured when every item is answered" if len(frame.evaluation.items) else "nothing was measured yet"
