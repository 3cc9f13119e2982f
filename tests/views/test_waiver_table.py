"""Waivers as people see them: standing, uses and time left follow from the records and the moment."""

from __future__ import annotations

import pytest

from kd.governance.events import VerdictIssued, WaiverAccepted, WaiverApplied, WaiverRejected
from kd.governance.waivers import Waiver, WaiverBook, waive
from kd.run.events import RunRejected, RunStarted, WaiverGranted
from kd.views.gate_table import GateTable, apply_to_gate_table, initial_gate_table
from kd.views.moment_facts import facts_of
from kd.views.run_view import RunView, evolve_view
from kd.views.waiver_table import left_text, verdict_words
from tests.governance.waiver_examples import DAY_MS, HELD_UP, NEEDY, NOW_MS, waiver
from tests.views.examples import RUN, fold, planned, recorded

OWN, GOVERNANCE = f"run/{RUN}", f"run/{RUN}/governance"
END_MS = NOW_MS + 12 * DAY_MS


def table(*granted: Waiver, accepted: int = 0, is_used: bool = False) -> GateTable:
    """The judgement after these waivers were granted, the first `accepted` accepted and the rest left open."""
    rows: list[tuple[str, object, float]] = [(GOVERNANCE, VerdictIssued(verdict=NEEDY), 0)]
    rows += [(OWN, WaiverGranted(waiver=each), 1) for each in granted]
    rows += [(GOVERNANCE, WaiverAccepted(waiver=each, request=2, decided_at_ms=NOW_MS), 2) for each in granted[:accepted]]
    if is_used:
        verdict = waive(NEEDY, WaiverBook(accepted=granted), NOW_MS)
        rows += [(GOVERNANCE, WaiverApplied(applied=use), 3) for use in verdict.waivers]
        rows += [(GOVERNANCE, VerdictIssued(verdict=verdict), 3)]
    return fold(apply_to_gate_table, initial_gate_table(RUN), recorded(rows))


def standings(found: GateTable, now_ms: int) -> list[str]:
    return [row.standing for row in found.waivers.rows(now_ms)]


def test_a_waiver_goes_from_unanswered_to_in_force_to_expired() -> None:
    """Each standing has its moment; nothing but the records and the time decides."""
    assert standings(table(waiver()), NOW_MS) == ["unanswered"]
    assert standings(table(waiver(), accepted=1), NOW_MS) == ["active"]
    used = table(waiver(), accepted=1, is_used=True)
    assert [standings(used, now)[0] for now in (NOW_MS, END_MS - 1, END_MS)] == ["in force", "in force", "expired"]
    assert [row.uses for row in used.waivers.rows(NOW_MS)] == [1]


def test_a_rejected_waiver_keeps_its_reason() -> None:
    """The row says why, and where the answer stands."""
    rejected = WaiverRejected(id=waiver().id, request=1, reason="The waiver ended 2 hours ago.", decided_at_ms=NOW_MS)
    found = fold(
        apply_to_gate_table, initial_gate_table(RUN), recorded([(OWN, WaiverGranted(waiver=waiver()), 0), (GOVERNANCE, rejected, 1)])
    )
    (row,) = found.waivers.rows(NOW_MS)
    assert (row.standing, row.reason, row.request, row.answer) == ("rejected", "The waiver ended 2 hours ago.", 1, 2)
    assert found.waivers.covering("kl", NOW_MS) is None


def test_a_gate_shows_the_waiver_that_its_verdict_rests_on() -> None:
    """Of several waivers of a gate it is the one that was used; before any was, the newest."""
    first, second = waiver(), waiver(title="later")
    used, unused = table(first, second, accepted=2, is_used=True), table(first, second, accepted=2)
    chosen = [found.waivers.covering("kl", NOW_MS) for found in (used, unused)]
    assert [row.waiver.id for row in chosen if row is not None] == [first.id, second.id]
    assert used.waivers.covering("speed", NOW_MS) is None


@pytest.mark.parametrize(("hours", "words"), [(12 * 24 + 4, "12d"), (72, "3d"), (71.9, "71h"), (1, "1h"), (0.5, "30m"), (0, "0m")])
def test_time_left_is_told_in_one_unit(hours: float, words: str) -> None:
    """Days, then hours on the last three days, then minutes; always rounded down."""
    assert left_text(round(hours * 3_600_000)) == words


def test_an_approval_with_an_end_says_how_long_it_holds() -> None:
    """`waived 12d`, and from the end on `lapsed`; other verdicts are their own words."""
    assert [verdict_words("approved_with_waivers", END_MS, now) for now in (NOW_MS, END_MS)] == ["waived 12d", "lapsed"]
    assert [verdict_words(status, None, NOW_MS) for status in (None, "waiver_required")] == [None, "waiver required"]


def test_waivers_are_facts_of_a_moment() -> None:
    """Two moments differ by the verdict and the waivers between them: asked for, then accepted."""
    given: list[tuple[str, object, float]] = [planned(), *((GOVERNANCE, event, 1.0) for event in HELD_UP)]
    given += [(OWN, RunStarted(), 0.0), (OWN, RunRejected(verdict="waiver_required"), 2.0), (OWN, WaiverGranted(waiver=waiver()), 3.0)]
    name = f"waiver.{waiver().id}"
    before = fold(evolve_view, RunView(id=RUN), recorded(given[:-1]))
    asked = fold(evolve_view, RunView(id=RUN), recorded(given))
    accepted = (GOVERNANCE, WaiverAccepted(waiver=waiver(), request=9, decided_at_ms=NOW_MS), 4.0)
    after = fold(evolve_view, RunView(id=RUN), recorded([*given, accepted]))
    assert [facts_of(view).get(name) for view in (before, asked, after)] == [None, "unanswered", "accepted"]
    assert facts_of(before)["verdict.id"] == NEEDY.id
