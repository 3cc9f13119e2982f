"""The waivers of a run: what was granted, how it was answered, what it is used for; and how long an approval still holds."""

from __future__ import annotations

from typing import Any, Literal

from attrs import evolve as replace
from attrs import field, frozen

from kd.governance.events import VerdictIssued, WaiverAccepted, WaiverApplied, WaiverRejected
from kd.governance.machine import book_of, verdict_of
from kd.governance.states import Idle
from kd.governance.verdict import Verdict, is_lapsed
from kd.governance.waiver_acceptance import Judgement
from kd.governance.waivers import Waiver, standing_of
from kd.run import states
from kd.run.events import WaiverGranted
from kd.views.run_streams import is_of_run
from kd.views.run_view import RunView
from ledger.record import Record

__all__ = [
    "WAIVER_EVENTS",
    "Standing",
    "WaiverRow",
    "WaiverTable",
    "apply_to_waiver_table",
    "judged",
    "judgement_in",
    "left_text",
    "verdict_words",
]

Standing = Literal["unanswered", "rejected", "in force", "active", "not begun", "expired", "exhausted"]

WAIVER_EVENTS = (WaiverGranted, WaiverAccepted, WaiverRejected, WaiverApplied, VerdictIssued)
"""What changes the table."""
_HOUR_MS = 3_600_000


@frozen(kw_only=True)
class WaiverRow:
    """One waiver at one moment."""

    waiver: Waiver
    request: int
    """Position of the record that grants it."""
    standing: Standing
    """`in force` while the verdict rests on it; `exhausted` if it cannot help another verdict."""
    uses: int
    answer: int | None
    """Position of the answer."""
    reason: str = ""
    """Why it was rejected."""


@frozen(kw_only=True)
class _Answer:
    position: int
    reason: str | None
    """None where it was accepted."""


@frozen
class WaiverTable:
    """The waivers of a run so far."""

    granted: tuple[tuple[int, Waiver], ...] = ()
    """Each with the position of its record."""
    answers: dict[str, _Answer] = field(factory=dict)
    uses: dict[str, int] = field(factory=dict)
    verdict: Verdict | None = None

    def rows(self, now_ms: int) -> tuple[WaiverRow, ...]:
        """All waivers in the order in which they were granted."""
        return tuple(self._row(position, waiver, now_ms) for position, waiver in self.granted)

    def covering(self, gate_id: str, now_ms: int) -> WaiverRow | None:
        """The waiver that the verdict rests on for this gate, or the newest one that names the gate and counts."""
        applied = {use.gate_id: use.id for use in (() if self.verdict is None else self.verdict.waivers)}
        rows = [row for row in self.rows(now_ms) if gate_id in {limit.gate_id for limit in row.waiver.limits}]
        chosen = [row for row in rows if row.waiver.id == applied.get(gate_id)]
        found = chosen or [row for row in rows if row.standing != "rejected"]
        return found[-1] if found else None

    def _row(self, position: int, waiver: Waiver, now_ms: int) -> WaiverRow:
        answer, uses = self.answers.get(waiver.id), self.uses.get(waiver.id, 0)
        found = WaiverRow(
            waiver=waiver, request=position, standing="unanswered", uses=uses, answer=None if answer is None else answer.position
        )
        if answer is None:
            return found
        if answer.reason is not None:
            return replace(found, standing="rejected", reason=answer.reason)
        verdict = self.verdict
        if verdict is not None and waiver.id in {use.id for use in verdict.waivers} and not is_lapsed(verdict, now_ms):
            return replace(found, standing="in force")
        return replace(found, standing=standing_of(waiver, now_ms, uses))


def apply_to_waiver_table(state: WaiverTable, record: Record, run: str) -> WaiverTable:
    """The table after `record`; records of other runs and of other things change nothing."""
    event: Any = record.event
    if not isinstance(event, WAIVER_EVENTS) or not is_of_run(record.stream, run):
        return state
    match event:
        case WaiverGranted(waiver=waiver):
            return replace(state, granted=(*state.granted, (record.position, waiver)))
        case WaiverAccepted(waiver=waiver):
            return replace(state, answers=state.answers | {waiver.id: _Answer(position=record.position, reason=None)})
        case WaiverRejected(id=id_, reason=reason):
            return replace(state, answers=state.answers | {id_: _Answer(position=record.position, reason=reason)})
        case WaiverApplied(applied=use):
            return replace(state, uses=state.uses | {use.id: max(use.use_number, state.uses.get(use.id, 0))})
        case _:
            return replace(state, verdict=event.verdict)


def judged(view: RunView) -> Verdict | None:
    """The run's verdict, once it stands."""
    return verdict_of(view.stages.get("governance", Idle()))


def judgement_in(view: RunView | None) -> Judgement | None:
    """Verdict and waivers of the run at that moment; None before there is a verdict."""
    verdict, book = (None, None) if view is None else (judged(view), book_of(view.stages.get("governance", Idle())))
    if view is None or verdict is None or book is None:
        return None
    granted = view.run.granted if isinstance(view.run, states.Rejected | states.Succeeded) else ()
    return Judgement(verdict=verdict, book=book, unanswered=tuple(waiver for waiver in granted if waiver.id not in book.answered))


def verdict_words(status: str | None, valid_until_ms: int | None, now_ms: int) -> str | None:
    """`approved`, `waiver required`, `waived 12d`, or `lapsed`."""
    if status is None or valid_until_ms is None:
        return None if status is None else status.replace("_", " ")
    return "lapsed" if now_ms >= valid_until_ms else f"waived {left_text(valid_until_ms - now_ms)}"


def left_text(milliseconds: int) -> str:
    """`12d`, or `71h` on the last three days, or `5m` in the last hour."""
    hours = milliseconds // _HOUR_MS
    return f"{hours // 24}d" if hours >= 72 else f"{hours}h" if hours else f"{max(milliseconds, 0) // 60_000}m"
