"""The verdict as a function of gates and evidence."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from attrs import evolve as replace
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.evidence import GateResult, GateRule, GateSet
from kd.governance.verdict import Evidence, Refusal, Subject, Verdict, derive
from tests.governance.examples import ADMITTED, GATES, MEASUREMENTS, RESULTS, VERDICT

CANDIDATE = (Subject(kind="student", digest="a" * 64),)
REFUSAL = Refusal(kind="measurements.export", digest="c" * 64, reason="The artifact holds no measurement, expected at least one.")


@st.composite
def tables(draw: st.DrawFn) -> tuple[GateResult, ...]:
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(["hard", "warn", "report"]), st.booleans(), st.sampled_from(["pass", "fail", "inconclusive"])),
            max_size=8,
        )
    )
    return tuple(result(f"g{place}", *row) for place, row in enumerate(rows))


def result(
    id_: str,
    level: Literal["hard", "warn", "report"] = "hard",
    is_waivable: bool = True,
    status: Literal["pass", "fail", "inconclusive"] = "pass",
) -> GateResult:
    gate = GateRule(id=id_, metric="m", suite="s", rule=">=", theta=0.0, level=level, is_waivable=is_waivable)
    return GateResult(gate=gate, status=status, bar=0.0, reason="", evidence=())


def judged(results: tuple[GateResult, ...], *, refused: tuple[Refusal, ...] = (), admitted: tuple[Evidence, ...] = ()) -> Verdict:
    gate_set = GateSet(name="any", gates=tuple(one.gate for one in results))
    return derive(purpose="experiment", candidate=CANDIDATE, gate_set=gate_set, results=results, admitted=admitted, refused=refused)


@settings(max_examples=300)
@given(tables(), st.booleans())
def test_the_rule_is_that_of_a_plain_oracle(results: tuple[GateResult, ...], is_refused: bool) -> None:
    """Over random tables the status is what a rule written the other way round says, and nothing else is ever approved."""
    hard = [one for one in results if one.gate.level == "hard"]
    broken = [one for one in hard if one.status in {"fail", "inconclusive"}]
    if is_refused or not hard or any(not one.gate.is_waivable for one in broken):
        expected = "rejected"
    elif broken:
        expected = "waiver_required"
    else:
        expected = "approved"
    found = judged(results, refused=(REFUSAL,) if is_refused else ())
    assert found.status == expected
    assert {violation.gate_id for violation in found.violations} >= {one.gate.id for one in broken}


def test_an_empty_gate_table_rejects() -> None:
    """Nothing was asked, so nothing is approved; a table without a hard gate is no better."""
    assert judged(()).status == "rejected"
    assert judged((result("w", level="warn"), result("r", level="report"))).status == "rejected"


@pytest.mark.parametrize("level", ["warn", "report"])
def test_only_hard_gates_decide(level: Literal["warn", "report"]) -> None:
    """A warning that fails is listed with its status and stands against nothing."""
    found = judged((result("h"), result("w", level=level, status="fail")))
    assert found.status == "approved"
    assert [(gate.id, gate.status) for gate in found.gates] == [("h", "pass"), ("w", "fail")]


def test_missing_evidence_is_a_violation() -> None:
    """An inconclusive hard gate is violated with its reason, and approval is not possible."""
    found = judged((result("h", status="inconclusive"),))
    assert found.status == "waiver_required"
    assert [(violation.gate_id, violation.is_waivable) for violation in found.violations] == [("h", True)]


def test_refused_evidence_cannot_be_waived() -> None:
    """Evidence that cannot be relied on rejects, even where every gate passed."""
    found = judged((result("h"),), refused=(REFUSAL,))
    assert found.status == "rejected"
    assert (found.violations[0].gate_id, found.violations[0].subject, found.violations[0].is_waivable) == (
        "evidence",
        REFUSAL.digest,
        False,
    )


def test_the_id_is_a_digest_of_the_inputs() -> None:
    """Equal inputs give an equal id of the fixed form; any change of gate, value, purpose, candidate or evidence gives another."""
    arguments = {
        "purpose": "experiment",
        "candidate": CANDIDATE,
        "gate_set": GATES,
        "results": RESULTS,
        "admitted": (ADMITTED.evidence,),
        "refused": (),
    }
    first = derive(**arguments)  # type: ignore[arg-type]
    assert re.fullmatch(r"CAWS-VERDICT-[A-Z2-7]{16}", first.id)
    assert derive(**arguments) == first  # type: ignore[arg-type]
    worse = replace(RESULTS[0], value=4.5, evidence=(replace(MEASUREMENTS[0], value=4.5),))
    changes = (
        {"purpose": "internal"},
        {"candidate": (replace(CANDIDATE[0], digest="b" * 64),)},
        {"gate_set": replace(GATES, version=2)},
        {"results": (worse, RESULTS[1])},
        {"admitted": ()},
        {"refused": (REFUSAL,)},
    )
    ids = {derive(**{**arguments, **change}).id for change in changes}  # type: ignore[arg-type]
    assert len(ids | {first.id}) == len(changes) + 1


def test_results_must_be_those_of_the_gate_set() -> None:
    """A result left out, doubled, out of order or of another gate cannot be judged."""
    for results in (RESULTS[:1], RESULTS[::-1], (*RESULTS, RESULTS[0]), (result("h"), RESULTS[1])):
        with pytest.raises(ValueError, match="evaluate each of its gates once"):
            derive(purpose="experiment", candidate=CANDIDATE, gate_set=GATES, results=results, admitted=(), refused=())


def test_a_verdict_lists_what_it_rests_on() -> None:
    """A verdict names the candidate, the gate set, every gate and the evidence by digest."""
    assert VERDICT.status == "approved"
    assert VERDICT.gate_set == "two/1"
    assert [subject.kind for subject in VERDICT.candidate] == ["student"]
    assert VERDICT.evidence == (ADMITTED.evidence,)
