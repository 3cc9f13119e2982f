"""All runs of the ledger, the one with the newest record first, and what to do next about the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.strip import Strip
from textual.widget import Widget

from kd.run import states
from kd.views.run_summary import run_row, run_state_word
from kd.views.run_view import RunView
from kd.views.safe_text import SafeText, safe_text
from kd.views.waiver_table import left_text, verdict_words
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.keymap import Keymap
from tui.messages import RunAsked
from tui.screens.kd_screen import KdScreen
from tui.themes import UNICODE, glyphs_of, palette_of
from tui.widgets.figures import span
from tui.widgets.filter_line import FilterLine
from tui.widgets.painting import Pieces, paint, wrapped
from tui.widgets.row_list import Column, RowList, Rows
from tui.widgets.stage_strip import progress_of, run_state, stage_lamps

__all__ = ["RunsScreen"]

_COLUMNS = (
    Column("", 1),
    Column("run", 22, grows=True),
    Column("stages", 6),
    Column("state", 13),
    Column("progress", 13, rank=1),
    Column("verdict", 15, rank=2),
    Column("wv", 2, is_right=True, rank=3),
    Column("last record", 16, is_right=True, rank=4),
    Column("records", 9, is_right=True, rank=5),
    Column("lasted", 12, is_right=True, rank=6),
)
_SORTS: tuple[tuple[str, Callable[[RunView, Frame], object]], ...] = (
    ("last record", lambda view, frame: -view.last_position),
    ("name", lambda view, frame: view.id),
    ("state", lambda view, frame: run_state_word(view, is_owned=view.id in frame.owned)),
)
_NO_RUNS = "There is no run in this ledger yet. Start one with: kd run CONFIG"


class RunsScreen(KdScreen):
    """A row for each run."""

    number = 1
    title_word = "runs"
    needs_run = False
    footer = ("open", "mark", "sort", "filter", "pause", "resume", "cancel", "waive", "command_line")
    DEFAULT_CSS: ClassVar[str] = "RunsScreen RowList { height: 1fr; }"

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self._sort = 0
        self._words: tuple[str, ...] = ()
        self._views: tuple[RunView, ...] = ()
        """Those that are shown, in order."""

    def compose_body(self) -> ComposeResult:
        yield FilterLine(
            placeholder="all words must be in the run's id, state:…, stage:…, verdict:… or owner:…, e.g. paused stage:training"
        )
        yield RowList()
        yield _NextStep()

    def on_mount(self) -> None:
        self.query_one(RowList).focus()
        super().on_mount()

    @property
    def chosen_run(self) -> str | None:
        """The run that keys act on."""
        index = self.query_one(RowList).chosen
        return None if index is None else self._views[index].id

    def link_position(self) -> int | None:
        view = self._chosen()
        return None if view is None else view.last_position

    def show(self, frame: Frame) -> None:
        key = _SORTS[self._sort][1]
        views = sorted(frame.runs.values(), key=lambda view: (key(view, frame), view.id))
        self._views = tuple(view for view in views if all(word in _searched(view, frame) for word in self._words))
        marked, glyphs = self.feed.marked, glyphs_of(self.app)

        def cells(index: int) -> Sequence[Pieces]:
            view = self._views[index]
            is_owned = view.id in frame.owned
            row = run_row(view, is_owned=is_owned, now_ms=frame.now_ms)
            progress = progress_of(view)
            return (
                ((glyphs.marker if view.id in marked else "", "accent"),),
                ((view.id, "text"),),
                stage_lamps(view, is_owned=is_owned, glyphs=glyphs),
                (run_state(view, is_owned=is_owned, glyphs=glyphs),),
                ((glyphs.dash if progress is None else f"{progress.done:,}/{progress.total:,}", "text"),),
                ((_verdict(row, frame) or glyphs.dash, "bad" if row["is_lapsed"] else _verdict_tone(row["verdict"])),),
                ((f"{row['num_waivers']}", "text" if row["num_waivers"] else "muted"),),
                ((f"{span(_age(view, frame))} ago", "muted"),),
                ((f"{view.num_records:,}", "muted"),),
                ((span(view.seconds), "muted"),),
            )

        found = self._views
        empty = _empty(frame, is_filtered=bool(self._words))
        self.query_one(RowList).rows = Rows(
            columns=_COLUMNS, num_rows=len(found), cells=cells, key=lambda index: found[index].id, empty=empty
        )
        self._advise()

    def header_facts(self, frame: Frame) -> str:
        runs = "1 run" if len(frame.runs) == 1 else f"{len(frame.runs)} runs"
        shown = runs if not self._words else f"{len(self._views)} of {runs}"
        return f"{shown}  by {_SORTS[self._sort][0]}"

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        self._advise()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        self.post_message(RunAsked(self._views[message.index].id))

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        self._words = tuple(message.text.casefold().split())
        self.redraw()

    def do_filter(self) -> None:
        self.query_one(FilterLine).call()

    def do_sort(self) -> None:
        self._sort = (self._sort + 1) % len(_SORTS)
        self.redraw()

    def do_mark(self) -> None:
        run = self.chosen_run
        if run is not None and not self.feed.toggle_mark(run):
            self.notify("Eight runs are marked; take one away first.", severity="warning", markup=False)
        self.redraw()

    def _chosen(self) -> RunView | None:
        index = self.query_one(RowList).chosen
        return self._views[index] if index is not None and index < len(self._views) else None

    def _advise(self) -> None:
        self.query_one(_NextStep).show(self._chosen(), self.feed.frame)


class _NextStep(Widget):
    """Two lines about the chosen run: how it stands and how it goes on."""

    DEFAULT_CSS = "_NextStep { height: 3; border-top: solid $kd-panel; padding: 0 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._pieces: Pieces = ()

    def show(self, view: RunView | None, frame: Frame) -> None:
        pieces = () if view is None else _next_step(view, frame)
        if pieces != self._pieces:
            self._pieces = pieces
            self.refresh()

    def render_line(self, y: int) -> Strip:
        # the border above is a line of its own
        lines = wrapped(self._pieces, max(self.content_size.width, 1)) if self._pieces else []
        pieces = lines[y] if y < len(lines) else ()
        return paint(pieces, width=self.content_size.width, palette=palette_of(self.app))


def _next_step(view: RunView, frame: Frame) -> Pieces:
    word = run_state_word(view, is_owned=view.id in frame.owned)
    ago = f"{span(_age(view, frame))} ago"
    name: tuple[str, str] = (f"{view.id}: ", "muted")
    resume: tuple[str, str] = (_command("resume", view, frame), "accent")
    match word, view.run:
        case "broken", _:
            return (name, (_plain(view.problem or ""), "text"))
        case "interrupted", _:
            return (name, (f"its owner died after @{view.last_position:,}, {ago}; go on: ", "text"), resume)
        case "planned", _:
            return (name, ("nobody has begun it; begin: ", "text"), resume)
        case _, states.Paused(cause=cause, reason=reason):
            said = f"paused ({cause}) {ago}: {reason}; go on: " if reason else f"paused ({cause}) {ago}; go on: "
            return (name, (_plain(said), "text"), resume)
        case _, states.Pausing(reason=reason):
            return (name, (_plain(f"it stops at its next safe point: {reason}"), "text"))
        case _, states.Cancelling(reason=reason) | states.Cancelled(reason=reason):
            return (name, (_plain(f"{word} {ago}: {reason}"), "text"))
        case _, states.Failed(stage=stage, reason=reason, is_retryable=is_retryable):
            cure = f"Try again: {resume[0]}" if is_retryable else "Start a new run."
            return (name, (_plain(f"{stage} failed {ago}: {reason} "), "text"), (cure, "accent"))
        case _, states.Rejected() as rejected:
            return (name, *_rejected(rejected, resume, frame))
        case _, states.Succeeded() as succeeded:
            return (name, *_succeeded(succeeded, resume, view, frame))
        case _:
            owner = frame.owners.get(view.id, "its owner")
            return (name, (_plain(f"{owner} works on it; last record {ago}; Enter shows it, P pauses it{_leave(frame)}"), "text"))


def _command(words: str, view: RunView, frame: Frame) -> str:
    return f"kd {words} {view.id} {frame.ledger_options}".rstrip()


def _leave(frame: Frame) -> str:
    """Behind what a key does that needs leave to write."""
    return "" if frame.is_writable else " (with --write)"


def _rejected(state: states.Rejected, resume: tuple[str, str], frame: Frame) -> Pieces:
    if state.granted:
        return _waiting(len(state.granted), resume, frame)
    if state.verdict == "waiver_required":
        return (("the verdict needs waivers; ", "text"), (f"7 shows what for, W grants one{_leave(frame)}", "accent"))
    return ((f"the verdict is {state.verdict.replace('_', ' ')}; ", "text"), ("7 shows the gates and their evidence", "accent"))


def _succeeded(state: states.Succeeded, resume: tuple[str, str], view: RunView, frame: Frame) -> Pieces:
    if state.granted:
        return _waiting(len(state.granted), resume, frame)
    if state.valid_until_ms is not None and frame.now_ms >= state.valid_until_ms:
        ago = left_text(frame.now_ms - state.valid_until_ms)
        words = f"the approval lapsed {ago} ago with the first of its waivers; "
        return ((words, "bad"), (f"7 shows which, W grants a new one{_leave(frame)}", "accent"))
    return ((f"the verdict is {state.verdict.replace('_', ' ')}; ", "text"), (_command("artifacts list", view, frame), "accent"))


def _waiting(count: int, resume: tuple[str, str], frame: Frame) -> Pieces:
    wait = "1 waiver waits for its answer" if count == 1 else f"{count} waivers wait for their answers"
    return ((f"{wait}; R lets the run be judged again{_leave(frame)}: ", "text"), resume)


def _empty(frame: Frame, *, is_filtered: bool) -> str:
    if frame.ledger == "opening" or (frame.is_catching_up and not frame.runs):
        return f"reading the ledger{UNICODE.ellipsis}"
    return "no run's row holds these words; Esc clears them" if is_filtered else f"{_NO_RUNS} {frame.ledger_options}".rstrip()


def _age(view: RunView, frame: Frame) -> float:
    return max(frame.now_ms - (view.last_ms or frame.now_ms), 0) / 1000


def _searched(view: RunView, frame: Frame) -> str:
    row = run_row(view, is_owned=view.id in frame.owned, now_ms=frame.now_ms)
    words = f"verdict:{row['verdict']} verdict:{_verdict(row, frame)}"
    owner = frame.owners.get(view.id, "") if view.id in frame.owned else ""
    return f"{view.id} state:{row['state']} stage:{row['stage']} {words} owner:{owner}".casefold()


def _verdict(row: Mapping[str, Any], frame: Frame) -> str | None:
    return verdict_words(row["verdict"], row["valid_until_ms"], frame.now_ms)


def _verdict_tone(verdict: str | None) -> str:
    return {"approved": "good", "approved_with_waivers": "good", "rejected": "bad", "waiver_required": "warn"}.get(verdict or "", "muted")


def _plain(text: str) -> SafeText:
    return safe_text(text, max_cells=400)
