"""What the evaluation of the open run measured, and the items behind each number, answer beside answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from attrs import evolve as replace
from attrs import frozen
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from kd.views.comparison import RunFacts, compare_measurements
from kd.views.eval_table import EvalTable, Flips, Item, MetricRow, flips, is_right
from kd.views.item_transcript import ItemTranscript, differing_parts, read_item_transcript
from kd.views.safe_text import safe_text
from kd.views.sample_text import SampleText
from tui.feed.details import Absent, Details, read_blob
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.feed.run_folds import fold_run, plan_of
from tui.feed.samples import SampleIndex, read_sample, read_sample_index
from tui.keymap import Keymap
from tui.messages import DetailReady, RecordChosen
from tui.screens.kd_screen import KdScreen
from tui.themes import UNICODE, Glyphs, glyphs_of
from tui.widgets.fact_lines import FactLines
from tui.widgets.filter_line import FilterLine
from tui.widgets.item_figures import has_success, item_value, score_name, scores_of, sparkline
from tui.widgets.metric_rows import MetricLine, MetricRows
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows
from tui.widgets.transcript import Block, ReadingText, Transcript

__all__ = ["EvaluationScreen"]

_NARROW = 100
_SIDES = 2
_HIDDEN = "texts are hidden: started with --no-content"
_HIDDEN_TEXT: tuple[Pieces, ...] = (((_HIDDEN, "muted"),),)


@frozen(kw_only=True)
class _Pair:
    """An item as this arm answered it, and as the other side did."""

    item: Item
    other: Item | None = None
    change: Literal["better", "worse", ""] = ""


@frozen(kw_only=True)
class _Side:
    """The answers of one arm of one run."""

    name: str
    table: EvalTable
    suite: str
    arm: str

    def items(self) -> tuple[Item, ...]:
        return self.table.items_of(self.suite, self.arm)


class EvaluationScreen(KdScreen):
    """Measurements above; beneath, the items of the chosen one and what was answered."""

    number = 6
    title_word = "evaluation"
    footer = ("open", "next_pane", "next_item", "next_match", "call_diff", "baseline", "filter", "origin", "copy_link", "live", "help")
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
        self._baseline: str | None = None
        self._is_diff = True
        self._words: tuple[str, ...] = ()
        self._table: EvalTable | None = None
        self._metrics: tuple[MetricLine, ...] = ()
        self._pairs: tuple[_Pair, ...] = ()
        self._sides: tuple[_Side, ...] = ()

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

    def on_mount(self) -> None:
        self.query_one("#metrics", MetricRows).focus()
        super().on_mount()

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
        facts = self._facts(frame)
        compared = {} if facts is None else {(row.suite, row.slice, row.metric): row for row in compare_measurements(facts)}
        for row in self._table.rows():
            found = row.measurement
            beside = compared.get((found.suite, found.slice, found.metric))
            if beside is None:
                yield MetricLine(row=row, is_waiting=self._baseline is not None)
            else:
                yield MetricLine(row=row, baseline=beside.measurements[0], reason="; ".join(beside.reasons))

    def _facts(self, frame: Frame) -> tuple[RunFacts, RunFacts] | None:
        """The baseline and this run, once both are read."""
        baseline = self._baseline_facts(frame)
        if baseline is None or frame.run is None or self._table is None:
            return None
        run, stop = frame.run, frame.position + 1
        plan = self.details.get(("plan", run), lambda store: plan_of(store, run, stop))
        if not isinstance(plan, RunFacts):
            return None
        return baseline, replace(plan, evaluation=self._table)

    def _baseline_facts(self, frame: Frame) -> RunFacts | None:
        run = self._baseline
        if run is None or run not in frame.runs:
            return None
        stop = frame.runs[run].last_position + 1
        fold = self.details.get(("facts", run, stop), lambda store: fold_run(store, run, stop).facts)
        return fold if isinstance(fold, RunFacts) else None

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
        line, glyphs = self._chosen_metric(), glyphs_of(self.app)
        self._sides = () if line is None or self._table is None else tuple(self._both_sides(line.row))
        metric = "" if line is None else line.row.measurement.metric
        name = score_name(metric)
        found = _flips(self._sides, name) if has_success(name) else None
        pairs = _pairs(self._sides, found)
        self._pairs = tuple(pair for pair in pairs if all(word in _searched(pair, name) for word in self._words))
        shown = self._pairs
        names = [side.name for side in reversed(self._sides)]
        self.query_one("#flips", FactLines).lines = (_headline(self._sides, metric, found, len(shown), len(pairs), glyphs),)
        self.query_one("#items", RowList).rows = Rows(
            columns=_item_columns(names),
            num_rows=len(shown),
            cells=lambda index: _item_cells(shown[index], metric, glyphs),
            key=lambda index: shown[index].item.event.item_id,
            empty="no item's row holds these words" if self._words else "no item was answered yet",
        )
        self._show_answers()

    def _both_sides(self, row: MetricRow) -> Iterator[_Side]:
        """The other side first: the baseline's same arm, or else another arm of this run."""
        assert self._table is not None
        suite, arm = row.measurement.suite, row.measurement.slice
        if self._baseline is not None:
            facts = self._baseline_facts(self.feed.frame)
            if facts is not None:
                yield _Side(name="baseline", table=facts.evaluation, suite=suite, arm=arm)
        else:
            arms = next((plan.arms for plan in self._table.suites if plan.suite == suite), ())
            other = next((each for each in (*arms[arms.index(arm) + 1 :], *arms) if each != arm), None) if arm in arms else None
            if other is not None:
                yield _Side(name=other, table=self._table, suite=suite, arm=other)
        yield _Side(name="this run" if self._baseline else arm, table=self._table, suite=suite, arm=arm)

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

    def _prompt(self, pair: _Pair) -> tuple[Block, ...]:
        text = self._sample(pair.item.event.item_id.rpartition("/")[2])
        if isinstance(text, str):
            return (Block(title="PROMPT", note=text),)
        parts = [part for part in text.parts if part.title != "WHERE FROM" and not part.is_supervised and part.title != "RIGHT CALL"]
        blocks = [Block(title=part.title, note=part.note, lines=tuple(((line, "text"),) for line in part.lines)) for part in parts]
        place = next((number for number, block in enumerate(blocks) if block.title == "TOOLS"), len(blocks))
        if text.gold_calls:
            blocks.insert(place, Block(title="RIGHT CALL", tone="good", lines=tuple(((call, "text"),) for call in text.gold_calls)))
        return tuple(blocks)

    def _sample(self, sample_id: str) -> SampleText | str:
        """The sample behind an item, or in words why it is not here."""
        if not self.feed.settings.content:
            return _HIDDEN
        data = self.feed.frame.data
        built = None if data is None else data.built
        if built is None:
            return "the run's samples are not recorded at this position"
        ref = built.samples
        index = self.details.get(("samples", ref), lambda store: read_sample_index(store, ref))
        if not isinstance(index, SampleIndex):
            return safe_text(index.sentence) if isinstance(index, Absent) else f"reading the samples{UNICODE.ellipsis}"
        head = index.by_id.get(sample_id)
        if head is None:
            return f"sample {sample_id} is not among the run's samples"
        text = self.details.get(("sample", ref, head.offset), lambda store: read_sample(store, ref, head))
        if isinstance(text, SampleText):
            return text
        return safe_text(text.sentence) if isinstance(text, Absent) else f"reading the sample{UNICODE.ellipsis}"

    def _answers(self, pair: _Pair) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        """Blocks of the other side and of this one; their texts marked where they differ."""
        glyphs = glyphs_of(self.app)
        both = [pair.other, pair.item] if len(self._sides) == _SIDES else [pair.item]
        said = [None if item is None else self._transcript(item) for item in both]
        texts = [tuple(((line, "text"),) for line in one.text) if isinstance(one, ItemTranscript) else () for one in said]
        if self._is_diff and len(said) == _SIDES and all(isinstance(one, ItemTranscript) and one.has_text for one in said):
            texts = list(_marked(said))
        blocks = [
            _answer_blocks(side, item, one, text if self.feed.settings.content else _HIDDEN_TEXT, glyphs)
            for side, item, one, text in zip(self._sides, both, said, texts, strict=True)
        ]
        nothing = (Block(title="NO OTHER SIDE", note="b chooses a run to compare with"),)
        return (blocks[0], blocks[1]) if len(blocks) == _SIDES else (nothing, blocks[0])

    def _transcript(self, item: Item) -> ItemTranscript | Absent | None:
        ref = item.event.transcript
        return self.details.get(("transcript", ref), lambda store: read_item_transcript(read_blob(store, ref)))

    def _chosen_metric(self) -> MetricLine | None:
        index = self.query_one("#metrics", MetricRows).chosen
        return self._metrics[index] if index is not None and index < len(self._metrics) else None

    def _chosen_pair(self) -> _Pair | None:
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


def _flips(sides: Sequence[_Side], name: str) -> Flips | None:
    return flips(sides[0].items(), sides[1].items(), name) if len(sides) == _SIDES else None


def _pairs(sides: Sequence[_Side], found: Flips | None) -> tuple[_Pair, ...]:
    if not sides:
        return ()
    others = {item.event.item_id: item for item in sides[0].items()} if len(sides) == _SIDES else {}
    changes = {} if found is None else {flip.item_id: flip.change for flip in found.flips}
    return tuple(
        _Pair(item=item, other=others.get(item.event.item_id), change=changes.get(item.event.item_id, "")) for item in sides[-1].items()
    )


def _searched(pair: _Pair, name: str) -> str:
    right = is_right(pair.item, name) if has_success(name) else None
    word = {True: "right", False: "wrong", None: ""}[right]
    return f"{pair.item.event.item_id} {pair.item.event.outcome} {pair.change} {word}".casefold()


def _headline(sides: Sequence[_Side], metric: str, found: Flips | None, num_shown: int, num_all: int, glyphs: Glyphs) -> Pieces:
    if not sides:
        return (("items", "bold text"),)
    this = sides[-1]
    pieces: list[tuple[str, str]] = [(safe_text(f"{this.suite} / {this.arm}"), "bold text"), (f"  {safe_text(metric)}", "muted")]
    if num_shown != num_all:
        pieces.append((f"   {num_shown:,} of {num_all:,} items", "accent"))
    if found is not None:
        pieces += [
            (f"   flips {safe_text(sides[0].name)} to {safe_text(this.name)}: ", "muted"),
            (f"{found.num_better} {glyphs.done} better", "good" if found.num_better else "muted"),
            (f"  {found.num_worse} {glyphs.failed} worse", "bad" if found.num_worse else "muted"),
            (f"  {found.num_same} same", "muted"),
            (f"  {found.num_errors} errors" if found.num_errors else "", "warn"),
            (f"  {found.num_unpaired} on one side only" if found.num_unpaired else "", "warn"),
        ]
    return pieces


def _item_columns(names: Sequence[str]) -> tuple[Column, ...]:
    sides = tuple(Column(name, min(max(len(name), 8), 11), is_right=True, rank=number) for number, name in enumerate(names))
    return (Column("item", 9, grows=True), *sides, Column("", 8, rank=2), Column("outcome", 9, rank=3))


def _item_cells(pair: _Pair, metric: str, glyphs: Glyphs) -> Sequence[Pieces]:
    event = pair.item.event
    change: tuple[str, str] = {
        "better": (f"{glyphs.done} better", "good"),
        "worse": (f"{glyphs.failed} worse", "bad"),
        "": ("", "muted"),
    }[pair.change]
    values: list[Pieces] = [(item_value(pair.item, metric, glyphs),)]
    values.append(((glyphs.dash, "muted"),) if pair.other is None else (item_value(pair.other, metric, glyphs),))
    outcome = (event.outcome.replace("_", " "), "bad" if pair.item.is_error else "warn" if event.outcome == "truncated" else "muted")
    return ((_short_id(event.item_id),), *values, (change,), (outcome,))


def _short_id(item_id: str) -> tuple[str, str]:
    number, _, sample = item_id.rpartition("/")
    return safe_text(f"{number}/{sample[:10]}" if number else sample[:14]), "text"


def _marked(said: Sequence[object]) -> Iterator[tuple[Pieces, ...]]:
    """Both texts, with what only one of them has underlined."""
    one, other = ("\n".join(each.text) for each in said if isinstance(each, ItemTranscript))
    for parts, tone in zip(differing_parts(one, other), ("bold underline warn", "bold underline accent"), strict=True):
        lines: list[list[tuple[str, str]]] = [[]]
        for part in parts:
            first, *rest = part.text.split("␊")
            lines[-1].append((first, "text" if part.is_shared else tone))
            lines += [[(piece, "text" if part.is_shared else tone)] for piece in rest]
        yield tuple(lines)


def _answer_blocks(side: _Side, item: Item | None, said: object, text: tuple[Pieces, ...], glyphs: Glyphs) -> tuple[Block, ...]:
    title = safe_text(side.name.upper())
    if item is None:
        return (Block(title=title, note="did not answer this item"),)
    scores = Block(title="SCORES", lines=tuple(scores_of(item, glyphs)))
    if not isinstance(said, ItemTranscript):
        note = safe_text(said.sentence) if isinstance(said, Absent) else f"reading{UNICODE.ellipsis}"
        return (Block(title=title, note=note), scores)
    calls = (
        f"{len(said.calls)} call{'' if len(said.calls) == 1 else 's'}" + (f", {said.num_malformed} malformed" if said.num_malformed else "")
        if said.has_text
        else ""
    )
    answer = Block(title=title, note=calls, tone="accent", lines=text or ((("(no text)", "muted"),),) if said.has_text else ())
    figures = Block(title="FIGURES", lines=tuple(((f"{name:<15} ", "muted"), (value, "text")) for name, value in said.facts))
    series = tuple(Block(title=name.upper(), lines=tuple(sparkline(values, glyphs))) for name, values in said.series if values)
    return (answer, *(block for block in (scores, *series, figures) if block.lines))


def _empty(frame: Frame) -> str:
    if frame.run is None:
        return "no run is open: choose one on screen 1"
    if frame.evaluation is None or frame.is_catching_up:
        return f"reading the run{UNICODE.ellipsis}"
    return "nothing was measured yet"
