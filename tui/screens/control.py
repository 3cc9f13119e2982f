"""Dialogs that ask a run's owner for something, or start one: what will be appended or started is shown first."""

from __future__ import annotations

import secrets
import shlex
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input

from kd.views.run_summary import run_state_word
from kd.views.safe_text import safe_text
from ledger.errors import LedgerError
from ledger.redaction import Redactor
from tui.feed.actions import Asked, Outcome, state_lines
from tui.feed.feed import Feed
from tui.feed.wishes import Launch, Request, ResumeRequest, WaiverRequest, Wish, redactor_of_view, resume_command
from tui.screens.typing_dialog import TypingDialog
from tui.widgets.dialog_parts import LINE_END, Choice, Field, Lines, labelled
from tui.widgets.painting import Pieces

__all__ = ["ControlDialog", "LaunchDialog", "RequestDialog", "previewed"]


class ControlDialog(TypingDialog[None]):
    """What the dialogs share: a box of lines that can be scrolled, and in view below them two buttons and the answer."""

    DEFAULT_CSS = """
    ControlDialog > Vertical {
        width: 88; max-width: 96%; height: auto; max-height: 96%; border: round $kd-accent; background: $kd-background; padding: 0 1;
        border-title-color: $kd-text; overflow-y: auto;
    }
    ControlDialog #foot { dock: bottom; height: auto; max-height: 12; overflow-y: auto; }
    ControlDialog #buttons { height: 1; margin-top: 1; align-horizontal: center; }
    ControlDialog Button { margin: 0 1; background: $kd-panel; color: $kd-text; border: none; height: 1; min-width: 10; }
    ControlDialog Button:focus { background: $kd-selection; color: $kd-text; text-style: bold; }
    ControlDialog Button:disabled { color: $kd-muted; text-opacity: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self.number: int | None = None
        """Of the request that was sent."""

    def answered(self, number: int) -> None:
        """The request `number` has come further."""
        if number != self.number or self.feed.actions is None:
            return
        state = self.feed.actions.state(number)
        tone = "muted" if isinstance(state, Asked) else "good" if not isinstance(state, Outcome) or state.is_good else "bad"
        said = [(line, tone) for line in state_lines(state)]
        self.query_one("#answer", Lines).pieces = tuple(piece for line in said for piece in (LINE_END, line))[1:]
        if isinstance(state, Outcome):
            self.query_one("#back", Button).label = "Back" if state.may_try_again else "Close"
            self.query_one("#back", Button).focus()
            if state.may_try_again:
                self.number = None
                self._hold(False)

    @on(Button.Pressed, "#back")
    def _leave(self) -> None:
        self.dismiss(None)

    def send(self, wish: Wish) -> None:
        """Send it, once."""
        assert self.feed.actions is not None
        self._hold(True)
        self.number = self.feed.actions.send(wish)
        self.answered(self.number)

    def action_page(self, by: int) -> None:
        """Scroll the lines, and those of the answer, by as many as are in view."""
        for box in self.query(Vertical):
            (box.scroll_page_down if by > 0 else box.scroll_page_up)(animate=False)

    def foot(self, *, do: str | None, is_ready: bool) -> ComposeResult:
        """The buttons, `do` that of what is asked for, and the answer."""
        with Vertical(id="foot"):
            with Horizontal(id="buttons"):
                if do is not None:
                    yield Button(do, id="do", disabled=not is_ready, compact=True)
                yield Button("Back", id="back", compact=True)
            yield Lines(id="answer")

    def _hold(self, is_held: bool) -> None:
        """Take what is typed no more, or again."""
        for widget in self.query("Input, Options, Choice, #do"):
            widget.disabled = is_held


class RequestDialog(ControlDialog):
    """Asks for a pause or for the end of a run, or that it is taken up again."""

    def __init__(self, feed: Feed, kind: Literal["pause", "cancel", "resume"], run: str) -> None:
        super().__init__(feed)
        self._kind: Literal["pause", "cancel", "resume"] = kind
        self._run = run
        self._key = f"tui:{secrets.token_hex(16)}"
        self._seen = feed.frame.position
        self._redactor = redactor_of_view(feed.frame.runs.get(run))

    def compose(self) -> ComposeResult:
        frame = self.feed.frame
        view = frame.runs.get(self._run)
        word = "unknown" if view is None else run_state_word(view, is_owned=self._run in frame.owned)
        with Vertical() as box:
            box.border_title = f"{self._kind.capitalize()} {self._run}"
            yield Lines(labelled("now", f"{word}, seen at @{self._seen:,}"))
            if self._kind != "resume":
                yield Choice("stop at", "next safe point", "at once, dropping what is unfinished")
            yield Field("reason", "why; it is recorded", id="reason")
            if self._kind == "cancel":
                yield Field("confirm", "type the run's whole id: it cannot be resumed", id="name")
            yield Lines(labelled("actor", f"{self.feed.actor}, as claimed"))
            yield Lines((("a reason is needed before anything is appended", "muted"),), id="preview")
            yield from self.foot(do="Append", is_ready=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._preview()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        self._preview()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.set_focus(event.input)  # an Enter too many goes no further than one
        self.focus_next()

    @on(Button.Pressed, "#do")
    def _append(self) -> None:
        request = self._request()
        if request is not None:
            self.send(request)

    def _request(self) -> Request | ResumeRequest | None:
        """What the fields say, if they say enough."""
        reason = self.query_one("#reason", Input).value.strip()
        is_confirmed = self._kind != "cancel" or self.query_one("#name", Input).value.strip() == self._run
        if not reason or not is_confirmed:
            return None
        if self._kind == "resume":
            command = resume_command(self._run, self.feed.ledger)
            return ResumeRequest(run=self._run, reason=reason, actor=self.feed.actor, seen=self._seen, key=self._key, command=command)
        return Request(
            kind=self._kind,
            run=self._run,
            reason=reason,
            is_now=self.query_one(Choice).is_second,
            actor=self.feed.actor,
            seen=self._seen,
            key=self._key,
        )

    def _preview(self) -> None:
        request = self._request()
        self.query_one("#do", Button).disabled = request is None or self.number is not None
        preview = self.query_one("#preview", Lines)
        if request is None:
            wanted = "a reason" if not self.query_one("#reason", Input).value.strip() else "the run's name"
            preview.pieces = ((f"{wanted} is needed before anything is appended", "muted"),)
        else:
            preview.pieces = previewed(request, self._redactor)
            if isinstance(request, ResumeRequest):
                started = safe_text(shlex.join(request.command))
                preview.pieces = (*preview.pieces, LINE_END, ("then this is started: ", "muted"), (started, "text"))


def previewed(request: Request | ResumeRequest | WaiverRequest, redactor: Redactor) -> Pieces:
    """What will be appended, without secrets; or why it cannot be."""
    try:
        return ((safe_text(request.preview(redactor)), "text"),)
    except (LedgerError, ValueError) as error:
        return ((safe_text(str(error)), "bad"),)


class LaunchDialog(ControlDialog):
    """Starts a process of its own that works on a run."""

    FIRST = "#do"

    def __init__(self, feed: Feed, title: str, launch: Launch) -> None:
        super().__init__(feed)
        self._title = title
        self._launch = launch

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = self._title
            yield Lines((("a process of its own will be started, and goes on when this window is closed:", "muted"),))
            yield Lines(((safe_text(shlex.join(self._launch.command)), "text"),))
            yield from self.foot(do="Start", is_ready=True)

    @on(Button.Pressed, "#do")
    def _start(self) -> None:
        self.send(self._launch)
