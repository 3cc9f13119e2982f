"""The dialog that grants a waiver: what is accepted of which gate, why, and until when."""

from __future__ import annotations

import secrets
from typing import ClassVar, Literal, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Button, Input

from kd.governance.verdict import Violation
from kd.governance.waiver_acceptance import Judgement, waiver_problems
from kd.governance.waivers import IMPACTS, REASON_CODES, Impact, ReasonCode, Waiver, WaiverLimit, make_waiver, to_waive
from kd.run.waiving import limit_text, parse_end, parse_limit, time_text
from kd.views.safe_text import safe_text
from tui.feed.feed import Feed
from tui.feed.wishes import WaiverRequest, redactor_of_view
from tui.screens.control import ControlDialog, previewed
from tui.widgets.dialog_parts import Field, Lines, labelled
from tui.widgets.options import Options
from tui.widgets.painting import Pieces

__all__ = ["WaiveDialog"]

_Texts = Literal["limit", "reason", "mitigation", "ends", "uses", "asked", "approves", "owner"]


class WaiveDialog(ControlDialog):
    """Grants a waiver for one gate of a run that waits for it, or whose approval lapsed; the run's next owner answers."""

    FIRST: ClassVar[str] = "Options, #back"
    DEFAULT_CSS = """
    WaiveDialog Field Input:disabled { color: $kd-muted; }
    """

    def __init__(self, feed: Feed, run: str, judgement: Judgement) -> None:
        super().__init__(feed)
        self._run = run
        self._judgement = judgement
        self._key = f"tui:{secrets.token_hex(16)}"
        self._seen = feed.frame.position
        self._redactor = redactor_of_view(feed.frame.runs.get(run))
        self._opened_ms = feed.clock.now_ms()
        self._verdict = to_waive(judgement.verdict, judgement.book, self._opened_ms)
        violations = self._verdict.violations
        self._choices = {violation.gate_id: violation for violation in violations if violation.is_waivable}
        self._forbidden = tuple(violation for violation in violations if not violation.is_waivable)
        self._may_append = self._verdict.status == "waiver_required"

    def compose(self) -> ComposeResult:
        verdict = self._verdict
        now = verdict.status if verdict == self._judgement.verdict else f"{self._judgement.verdict.status}, lapsed"
        with Vertical() as box:
            box.border_title = f"Waive {self._run}"
            yield Lines(labelled("now", f"{now.replace('_', ' ')}, seen at @{self._seen:,}"))
            for violation in self._forbidden:
                yield Lines(_forbidden(violation, verdict.gate_set))
            if self._may_append:
                yield Options("gate", [(gate_id, _about(violation)) for gate_id, violation in self._choices.items()], id="gate")
                yield Field("limit", "the worst value that is accepted, or: inconclusive", id="limit")
                yield Options("code", [(code, "") for code in REASON_CODES], id="code")
                yield Field("reason", "why, in words; it is recorded", id="reason")
                yield Field("mitigate", "what is done about the risk meanwhile, at least 50 characters", id="mitigation")
                yield Field("ends", "3d, 72h, 2030-01-31 or 2030-01-31T12:00:00Z", id="ends")
                yield Field("uses", "how many verdicts it may help to approve", id="uses")
                yield Options("impact", [(impact, "") for impact in IMPACTS], id="impact")
                yield Field("risk of", "who answers for the risk; else whoever asks", id="owner")
                yield Field("asked by", "who asks for the waiver", id="asked")
                yield Field("approves", "who approves it: somebody else", id="approves")
            yield Lines(labelled("actor", f"{self.feed.actor}, as claimed"))
            yield Lines(id="preview")
            yield from self.foot(do="Append" if self._may_append else None, is_ready=False)

    def on_mount(self) -> None:
        super().on_mount()
        preview = self.query_one("#preview", Lines)
        if not self._may_append:
            preview.pieces = (("the verdict is rejected, and what may not be waived stands against it: nothing can be appended", "warn"),)
            return
        self._fill("ends", "7d")
        self._fill("uses", "1")
        self._fill("asked", self.feed.actor)
        self._fill("limit", self._offered())
        self.query_one("#code", Options).index = REASON_CODES.index("other")
        self.query_one("#impact", Options).index = IMPACTS.index("medium")
        self._preview()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._preview()

    def on_options_changed(self, event: Options.Changed) -> None:
        if event.options.id == "gate":
            self._fill("limit", self._offered())
        self._preview()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.set_focus(event.input)  # an Enter too many goes no further than one
        self.focus_next()

    @on(Button.Pressed, "#do")
    def _append(self) -> None:
        request, problems = self._request()
        if request is not None and not problems:
            self.send(request)

    def _offered(self) -> str:
        return limit_text(self._choices[self.query_one("#gate", Options).value])

    def _fill(self, field: _Texts, text: str) -> None:
        self.query_one(f"#{field}", Input).value = text

    def _text(self, field: _Texts) -> str:
        return self.query_one(f"#{field}", Input).value.strip()

    def _recorded(self, text: str) -> str:
        """The text as the ledger will hold it: a waiver's id is that of its recorded texts."""
        return self._redactor.redact_text(text)[0]

    def _request(self) -> tuple[WaiverRequest | None, tuple[str, ...]]:
        """What the fields say, and every mistake in it."""
        try:
            waiver = self._waiver()
        except ValueError as error:
            return None, (str(error),)
        problems = waiver_problems(waiver, self._judgement, max(self._opened_ms, self.feed.clock.now_ms()))
        return WaiverRequest(run=self._run, waiver=waiver, actor=self.feed.actor, seen=self._seen, key=self._key), problems

    def _waiver(self) -> Waiver:
        uses = self._text("uses")
        if not (uses.isascii() and uses.isdigit()):
            raise ValueError(f"{uses!r} is no number of uses, expected 1 or more.")
        gate = self.query_one("#gate", Options).value
        return make_waiver(
            title=self._recorded(f"waiver of {gate}"),
            limits=(WaiverLimit(gate_id=gate, worst=parse_limit(self._text("limit"))),),
            reason_code=cast("ReasonCode", self.query_one("#code", Options).value),
            description=self._recorded(self._text("reason")),
            mitigation=self._recorded(self._text("mitigation")),
            risk_owner=self._recorded(self._text("owner") or self._text("asked")),
            requested_by=self._recorded(self._text("asked")),
            approved_by=self._recorded(self._text("approves")),
            created_ms=self._opened_ms,
            expires_ms=parse_end(self._text("ends"), self._opened_ms),
            max_uses=int(uses),
            impact=cast("Impact", self.query_one("#impact", Options).value),
        )

    def _preview(self) -> None:
        request, problems = self._request()
        self.query_one("#do", Button).disabled = request is None or bool(problems) or self.number is not None
        preview = self.query_one("#preview", Lines)
        if request is None or problems:
            preview.pieces = ((safe_text(" ".join(problems)), "muted"),)
        else:
            ends = f"until {time_text(request.waiver.expires_ms)}, appended: "
            preview.pieces = ((ends, "muted"), *previewed(request, self._redactor))


def _about(violation: Violation) -> str:
    if violation.observed is None or violation.bar is None:
        return f"inconclusive: {violation.reason}"
    return f"{violation.observed:.6g}, bar {violation.bar:.6g}"


def _forbidden(violation: Violation, gate_set: str) -> Pieces:
    return (
        ("".ljust(9), "muted"),
        (safe_text(violation.gate_id), "bad"),
        (f"  may not be waived, by gate set {safe_text(gate_set)}: {safe_text(violation.reason)}", "text"),
    )
