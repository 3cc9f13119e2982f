"""The governance machine after its verdict: waivers are answered, and the verdict is decided again."""

from __future__ import annotations

import pytest

from kd.governance.commands import AnswerWaiver, CompleteGovernance, FailGovernance, Reconsider
from kd.governance.events import GovernanceCompleted, GovernanceRetried, VerdictIssued, WaiverAccepted, WaiverApplied, WaiverRejected
from kd.governance.machine import DECIDER, STAGE, book_of, verdict_of
from kd.governance.states import Completed, DecideAgain, Publish, Reconsidering
from kd.governance.waivers import Waiver, WaiverBook, waive
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.testing import decide_given
from tests.governance.examples import ADMITTED, EVALUATED, ISSUED, STARTED, STUDENT
from tests.governance.waiver_examples import DAY_MS, HELD_UP, NEEDY, NOW_MS, waiver

GOOD, BAD = waiver(), waiver(approved_by="ana")
ACCEPTED = WaiverAccepted(waiver=GOOD, request=90, decided_at_ms=NOW_MS)


def answer(asked: Waiver = GOOD, now_ms: int = NOW_MS) -> AnswerWaiver:
    return AnswerWaiver(waiver=asked, request=90, now_ms=now_ms)


def test_a_good_waiver_is_accepted_and_the_verdict_is_due_again() -> None:
    """The answer names the request and the moment, and the stage asks for the time to decide by."""
    assert decide_given(DECIDER, HELD_UP, answer()) == (ACCEPTED,)
    state = fold(DECIDER, (*HELD_UP, ACCEPTED))
    assert isinstance(DECIDER.pending(state), DecideAgain)
    assert STAGE.outcome(state) is None
    assert verdict_of(state) == NEEDY


def test_a_bad_waiver_is_rejected_and_the_verdict_stands() -> None:
    """The reason is recorded; the stage stays completed, with what it had handed over."""
    (event,) = decide_given(DECIDER, HELD_UP, answer(BAD))
    assert isinstance(event, WaiverRejected)
    assert (event.id, event.request) == (BAD.id, 90)
    assert "let somebody else approve it" in event.reason
    state = fold(DECIDER, (*HELD_UP, event))
    assert isinstance(state, Completed)
    assert state.outputs == (STUDENT,)
    assert DECIDER.pending(state) is None


def test_a_waiver_is_answered_once() -> None:
    """A second answer to the same waiver is refused, whatever the first one was."""
    rejected = decide_given(DECIDER, HELD_UP, answer(BAD))
    for given, asked in (((ACCEPTED,), GOOD), (rejected, BAD)):
        with pytest.raises(CommandRejectedError, match="answered already"):
            decide_given(DECIDER, (*HELD_UP, *given), answer(asked))


def test_the_verdict_and_its_waivers_are_one_batch() -> None:
    """The uses and the verdict that rests on them are decided together: both are recorded, or neither."""
    events = decide_given(DECIDER, (*HELD_UP, ACCEPTED), Reconsider(now_ms=NOW_MS + 1))
    approved = waive(NEEDY, WaiverBook(accepted=(GOOD,)), NOW_MS + 1)
    assert events == (WaiverApplied(applied=approved.waivers[0]), VerdictIssued(verdict=approved))
    state = fold(DECIDER, (*HELD_UP, ACCEPTED, *events))
    assert isinstance(DECIDER.pending(state), Publish)
    done = fold(DECIDER, (*HELD_UP, ACCEPTED, *events, GovernanceCompleted(outputs=())))
    assert verdict_of(done) == approved
    book = book_of(done)
    assert book is not None
    assert (book.accepted, book.uses_of(GOOD.id)) == ((GOOD,), 1)


def test_a_waiver_that_ended_meanwhile_approves_nothing() -> None:
    """The verdict is decided by the waivers that hold at that moment, not at the moment they were accepted."""
    (event,) = decide_given(DECIDER, (*HELD_UP, ACCEPTED), Reconsider(now_ms=NOW_MS + 12 * DAY_MS))
    assert event == VerdictIssued(verdict=NEEDY)


def test_a_clock_set_back_approves_nothing() -> None:
    """Before its beginning a waiver does not hold, also if it was accepted already."""
    assert decide_given(DECIDER, (*HELD_UP, ACCEPTED), Reconsider(now_ms=NOW_MS - 1)) == (VerdictIssued(verdict=NEEDY),)


def test_waivers_are_answered_after_the_verdict_alone() -> None:
    """Nothing is waived before there is a verdict, and an approval needs no waiver."""
    with pytest.raises(CommandRejectedError, match="not possible"):
        decide_given(DECIDER, HELD_UP[:3], answer())
    with pytest.raises(CommandRejectedError, match="no waiver was accepted"):
        decide_given(DECIDER, HELD_UP, Reconsider(now_ms=NOW_MS))
    approved = (STARTED, ADMITTED, *EVALUATED, ISSUED, GovernanceCompleted(outputs=(STUDENT,)))
    (event,) = decide_given(DECIDER, approved, answer())
    assert isinstance(event, WaiverRejected)
    assert "expected waiver_required" in event.reason


def test_a_failure_while_deciding_again_is_retried_there() -> None:
    """A failure keeps what was accepted, and a retry goes on with it."""
    given = (*HELD_UP, ACCEPTED)
    failed = decide_given(DECIDER, given, FailGovernance(step="DecideAgain", reason="disk full", is_retryable=True))
    state = DECIDER.evolve(fold(DECIDER, (*given, *failed)), GovernanceRetried())
    assert isinstance(state, Reconsidering)
    assert state == fold(DECIDER, given)
    with pytest.raises(CommandRejectedError):
        DECIDER.decide(CompleteGovernance(outputs=()), state)
