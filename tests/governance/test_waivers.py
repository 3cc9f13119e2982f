"""Waivers: which can be accepted, what they cover, and what a verdict becomes by them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve as replace
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.evidence import GateResult, GateRule, GateSet
from kd.governance.config import WaiverPolicy
from kd.governance.verdict import AppliedWaiver, Refusal, Verdict, Violation, derive, document_of, is_lapsed
from kd.governance.waiver_acceptance import acceptance_problems
from kd.governance.waivers import (
    Waiver,
    WaiverBook,
    WaiverLimit,
    covers,
    is_named_rightly,
    make_waiver,
    standing_of,
    waive,
)
from tests.governance.waiver_examples import DAY_MS, MITIGATION, NEEDY, NOW_MS, needy, waiver

HOUR_MS = 3_600_000
END_MS = NOW_MS + 12 * DAY_MS
KL = NEEDY.violations[0]


def problems(asked: Waiver, *, verdict: Verdict = NEEDY, book: WaiverBook = WaiverBook(), now_ms: int = NOW_MS) -> str:  # noqa: B008  # frozen
    return " ".join(acceptance_problems(asked, verdict, book, now_ms))


def test_a_fitting_waiver_can_be_accepted() -> None:
    """Complete, by two people, for a gate that stands against approval, reaching its value, and for no longer than allowed."""
    assert problems(waiver()) == ""


def test_the_id_is_that_of_the_content() -> None:
    """Equal content has an equal id; a changed word has another, and a waiver under a foreign id is refused."""
    assert re.fullmatch(r"CAWS-WAIVER-[A-Z2-7]{16}", waiver().id)
    assert waiver() == waiver()
    assert waiver().id != waiver(title="slow").id
    forged = replace(waiver(), expires_ms=END_MS + 1)
    assert not is_named_rightly(forged)
    assert "not that of the waiver's content" in problems(forged)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"description": "  "}, "The description is empty"),
        ({"risk_owner": ""}, "The risk owner is empty"),
        ({"mitigation": "x" * 49}, "49 characters, expected at least 50"),
        ({"approved_by": " ANA "}, "let somebody else approve it"),
        ({"reason_code": "because"}, "expected one of emergency_hotfix"),
        ({"impact": "none"}, "expected one of low"),
        ({"max_uses": 0}, "expected at least 1"),
        ({"expires_ms": NOW_MS}, "ends before it begins"),
        ({"expires_ms": NOW_MS + 90 * DAY_MS + 1}, "90 days at most"),
        ({"reason_code": "emergency_hotfix", "expires_ms": NOW_MS + 72 * HOUR_MS + 1}, "72 hours at most"),
        ({"created_ms": NOW_MS + 1}, "check the clocks"),
        ({"created_ms": NOW_MS - 2 * DAY_MS, "expires_ms": NOW_MS}, "ended 0 hours ago"),
        ({"limits": ()}, "names no gate"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=6.0), WaiverLimit(gate_id="kl", worst=7.0))}, "more than once"),
        ({"limits": (WaiverLimit(gate_id="k", worst=6.0),)}, "no gate 'k'"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=5.9),)}, "does not reach"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=4.0),)}, "does not reach"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=math.nan),)}, "expected a finite number"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=math.inf),)}, "expected a finite number"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=-math.inf),)}, "expected a finite number"),
        ({"limits": (WaiverLimit(gate_id="kl", worst=None),)}, "is not inconclusive"),
    ],
)
def test_what_cannot_be_accepted(other: dict[str, Any], words: str) -> None:
    """One sentence says what is wrong with the waiver, and only that is wrong."""
    found = acceptance_problems(waiver(**other), NEEDY, WaiverBook(), NOW_MS)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("name", ["ana\u200b", "a\u00adna", "\uff21na", "a n\u00a0a", "\u202eana", "an\ta", "ana\ufeff"])
def test_a_name_that_looks_like_the_other_is_the_other(name: str) -> None:
    """Width, case, white space and what is not seen make nobody a second person."""
    assert "let somebody else approve it" in problems(waiver(approved_by=name))


@pytest.mark.parametrize("who", ["requested_by", "approved_by", "risk_owner"])
def test_names_hold_nothing_that_is_not_seen(who: str) -> None:
    """A character without a shape is refused by its number; names of any script with spaces between are not."""
    found = acceptance_problems(waiver(**{who: "zo\u200be"}), NEEDY, WaiverBook(), NOW_MS)
    assert len(found) == 1
    assert "U+200B" in found[0]
    assert problems(waiver(**{who: "Zoë van der Straße 张伟"})) == ""


def test_the_longest_life_is_allowed() -> None:
    """Exactly 90 days, and exactly 72 hours of an emergency hotfix, are not too long."""
    assert problems(waiver(expires_ms=NOW_MS + 90 * DAY_MS)) == ""
    assert problems(waiver(reason_code="emergency_hotfix", expires_ms=NOW_MS + 72 * HOUR_MS)) == ""


def test_all_mistakes_are_told_at_once() -> None:
    """Whoever filled in a form badly reads every mistake in one answer."""
    found = acceptance_problems(waiver("k", title="", mitigation="", approved_by="ana"), NEEDY, WaiverBook(), NOW_MS)
    assert len(found) == 4


def test_gates_that_may_not_be_waived_or_pass_are_refused() -> None:
    """A waiver is for a violation that may be waived: not for one that its gate set keeps, nor for a gate that holds."""
    fixed = GateRule(id="leak", metric="kl_nats", suite="lm", slice="student", rule="==", theta=0.0, is_waivable=False)
    loose = GateRule(id="loose", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=9.0)
    verdict = replace(needy(fixed, loose)[2], status="waiver_required")
    assert "may not be waived" in problems(waiver("leak"), verdict=verdict)
    assert "nothing to waive" in problems(waiver("loose"), verdict=verdict)
    assert "expected waiver_required" in problems(waiver(), verdict=replace(NEEDY, status="rejected"))


def test_an_inconclusive_gate_is_covered_by_that_word_alone() -> None:
    """What has no value cannot be better than any value: only the limit `inconclusive` covers it."""
    verdict = needy(GateRule(id="speed", metric="tokens_per_second", suite="speed", rule=">=", theta=1.0))[2]
    assert problems(waiver("speed", None), verdict=verdict) == ""
    assert "only the limit 'inconclusive'" in problems(waiver("speed", 0.5), verdict=verdict)


def test_active_waivers_are_counted() -> None:
    """The third of a gate and the sixth of a run are refused while the others are active; those that ended do not count."""
    two = tuple(waiver(title=str(number)) for number in range(2))
    assert "2 waivers of gate kl are active" in problems(waiver(), book=WaiverBook(accepted=two))
    five = tuple(waiver("speed", None, title=str(number)) for number in range(5))
    assert "5 waivers of this run are active" in problems(waiver(), book=WaiverBook(accepted=five))
    later = waiver(created_ms=END_MS, expires_ms=END_MS + 1)
    assert problems(later, book=WaiverBook(accepted=two), now_ms=END_MS) == ""
    policy = WaiverPolicy(per_gate=3)
    assert problems(waiver(), book=WaiverBook(accepted=two, policy=policy)) == ""


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_waiver_holds_from_its_beginning_to_before_its_end(offset: int) -> None:
    """At each edge, one millisecond before, at and after: it holds while created ≤ now < expires."""
    one = waiver()
    assert covers(one, KL, NOW_MS + offset, 0) is (offset >= 0)
    assert covers(one, KL, END_MS + offset, 0) is (offset < 0)


def test_standing_is_derived_from_time_and_uses() -> None:
    """Not begun, active, exhausted and expired follow from the moment and the uses; nothing is stored."""
    one = waiver(max_uses=2)
    assert [standing_of(one, NOW_MS, uses) for uses in range(3)] == ["active", "active", "exhausted"]
    assert (standing_of(one, NOW_MS - 1, 0), standing_of(one, END_MS, 2)) == ("not begun", "expired")


@given(st.sampled_from([">=", "<="]), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(-20, 20))
def test_a_value_is_covered_when_it_is_not_worse_than_the_limit(rule: str, miss: float, slack: float, bar: float) -> None:
    """On either side of a bar the limit itself is covered, and what lies beyond it is not."""
    side = -1.0 if rule == ">=" else 1.0
    violation = Violation(gate_id="g", subject="s", observed=bar + side * miss, bar=bar, reason="", is_waivable=True)
    accepted = waiver("g", bar + side * slack)
    beyond = slack < miss if side > 0 else -slack > -miss
    assert covers(accepted, violation, NOW_MS, 0) is (not beyond or violation.observed == accepted.limits[0].worst)


@pytest.mark.parametrize("worst", [math.inf, -math.inf, math.nan])
def test_a_limit_that_is_no_finite_number_covers_nothing(worst: float) -> None:
    """Whoever accepts any value accepts nothing: a waiver has a worst value, on either side of a bar."""
    for observed, bar in ((6.0, 5.0), (5.0, 6.0), (None, None)):
        violation = Violation(gate_id="g", subject="s", observed=observed, bar=bar, reason="", is_waivable=True)
        assert not covers(waiver("g", worst), violation, NOW_MS, 0)


def test_a_verdict_that_waivers_do_not_cover_stays_as_it_was() -> None:
    """No use is spent, and id and bytes are those without waivers."""
    assert waive(NEEDY, WaiverBook(accepted=(waiver(),)), END_MS) is NEEDY
    assert waive(NEEDY, WaiverBook(), NOW_MS) is NEEDY
    assert {"waivers", "decided_at_ms", "valid_until_ms"}.isdisjoint(document_of(NEEDY))


def test_an_approval_names_its_waivers_and_its_end() -> None:
    """The verdict says which waivers it used, as which use, when it was decided and when it lapses; gates and violations stay."""
    one = waiver(max_uses=3)
    before = (AppliedWaiver(id=one.id, gate_id="kl", subject=KL.subject, use_number=1, expires_ms=END_MS),)
    found = waive(NEEDY, WaiverBook(accepted=(one,), used=before), NOW_MS + 5)
    assert (found.status, found.decided_at_ms, found.valid_until_ms) == ("approved_with_waivers", NOW_MS + 5, END_MS)
    assert found.waivers == (replace(before[0], use_number=2),)
    assert (found.gates, found.violations) == (NEEDY.gates, NEEDY.violations)
    assert found.id != NEEDY.id
    assert document_of(found)["valid_until_ms"] == END_MS
    assert [is_lapsed(found, now) for now in (END_MS - 1, END_MS, END_MS + 1)] == [False, True, True]


def test_an_approval_without_waivers_never_lapses() -> None:
    """Only a waiver gives an approval an end."""
    assert not is_lapsed(NEEDY, 2**53)


gate_rows = st.lists(
    st.tuples(
        st.sampled_from(["hard", "hard", "warn"]), st.sampled_from([True] * 7 + [False]), st.sampled_from([None, -1.0, -1.0, 0.0, 1.0])
    ),
    min_size=1,
    max_size=3,
)
waiver_rows = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, None, -2.0, -1.0, -1.0, -0.5, 1.0])), min_size=1, max_size=4),
        st.sampled_from([-2, -1, 0, 0, 2]),
        st.sampled_from([-1, 0, 1, 2, 3]),
        st.sampled_from([1, 1, 2, 0]),
        st.sampled_from([0, 0, 0, 1, 2]),
    ),
    max_size=4,
)
"""Limits, beginning and end around the present, how often it may be used, and how often it was."""


def table(rows: Sequence[tuple[str, bool, float | None]], *, is_refused: bool) -> Verdict:
    """The verdict on gates `≥ 0` with these values."""
    results = []
    for place, (level, is_waivable, value) in enumerate(rows):
        # A level and a status are any of the words their types list.
        gate = GateRule(id=f"g{place}", metric="m", suite="s", rule=">=", theta=0.0, level=level, is_waivable=is_waivable)  # type: ignore[arg-type]
        status = "inconclusive" if value is None else "pass" if value >= 0 else "fail"
        results.append(GateResult(gate=gate, status=status, value=value, bar=None if value is None else 0.0, reason="", evidence=()))  # type: ignore[arg-type]
    refused = [Refusal(kind="k", digest="d", reason="r")] if is_refused else []
    gate_set = GateSet(name="any", gates=tuple(result.gate for result in results))
    return derive(purpose="experiment", candidate=(), gate_set=gate_set, results=results, admitted=[], refused=refused)


def oracle(rows: Sequence[tuple[str, bool, float | None]], waivers: Sequence[tuple[Waiver, int]], now_ms: int, *, is_refused: bool) -> str:
    """The rule written the other way round, gate by gate, with numbers alone."""
    hard = [(f"g{place}", is_waivable, value) for place, (level, is_waivable, value) in enumerate(rows) if level == "hard"]
    broken = [row for row in hard if row[2] is None or row[2] < 0]
    if is_refused or not hard or any(not is_waivable for _, is_waivable, _ in broken):
        return "rejected"
    is_open = False
    for gate_id, _, value in broken:
        is_covered = False
        for one, uses in waivers:
            if now_ms < one.created_ms or not now_ms < one.expires_ms or uses >= one.max_uses:
                continue
            limit = next((limit for limit in one.limits if limit.gate_id == gate_id), None)
            if limit is None:
                continue
            if value is None:
                is_covered |= limit.worst is None
            else:
                is_covered |= limit.worst is not None and value >= limit.worst and limit.worst <= 0
        is_open |= not is_covered
    return "waiver_required" if is_open else "approved_with_waivers" if broken else "approved"


@settings(max_examples=400)
@given(gate_rows, waiver_rows, st.sampled_from([False] * 9 + [True]))
def test_a_verdict_with_waivers_is_that_of_a_plain_oracle(
    rows: list[tuple[str, bool, float | None]],
    asked: list[tuple[list[tuple[int, float | None]], int, int, int, int]],
    is_refused: bool,
) -> None:
    """Over random gates, waivers, uses and moments the status is the oracle's: nothing is approved that a rule forbids."""
    pairs = []
    for number, (limits, created, expires, max_uses, uses) in enumerate(asked):
        chosen = tuple(WaiverLimit(gate_id=f"g{place}", worst=worst) for place, worst in dict(limits).items())
        settings_ = {"limits": chosen, "created_ms": NOW_MS + created, "expires_ms": NOW_MS + expires, "max_uses": max_uses}
        pairs.append((waiver(title=str(number), **settings_), uses))
    used = tuple(AppliedWaiver(id=one.id, gate_id="g", subject="s", use_number=uses, expires_ms=0) for one, uses in pairs if uses)
    book = WaiverBook(accepted=tuple(one for one, _ in pairs), used=used)
    verdict = table(rows, is_refused=is_refused)
    for now_ms in range(NOW_MS - 3, NOW_MS + 4):
        found = waive(verdict, book, now_ms)
        assert found.status == oracle(rows, pairs, now_ms, is_refused=is_refused)
        assert (found.violations, found.gates) == (verdict.violations, verdict.gates)
        assert bool(found.waivers) is (found.status == "approved_with_waivers")


def test_make_waiver_takes_what_people_type() -> None:
    """Even numbers that JSON has no word for have an id, so that the mistake can be told."""
    made = make_waiver(
        title="t", limits=(WaiverLimit(gate_id="g", worst=math.inf),), reason_code="other", description="d", mitigation=MITIGATION,
        risk_owner="r", requested_by="a", approved_by="b", created_ms=0, expires_ms=1,
    )  # fmt: skip
    assert is_named_rightly(made)
