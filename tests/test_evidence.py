"""Gates and the evidence they rest on."""

from __future__ import annotations

import json
import math

import pytest
from attrs import evolve as replace
from hypothesis import given
from hypothesis import strategies as st

from kd.evidence import GateRule, GateSet, Measurement, evaluate_gate, measurements_from_json, measurements_to_json

GATE = GateRule(id="kl", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=0.6, relative_to="untrained")
STUDENT = Measurement(metric="kl_nats", suite="lm", slice="student", value=4.0, n=36)
UNTRAINED = Measurement(metric="kl_nats", suite="lm", slice="untrained", value=13.0, n=36)

numbers = st.floats(allow_nan=False, allow_infinity=False)
measurements = st.builds(
    Measurement,
    metric=st.text(min_size=1, max_size=8),
    suite=st.sampled_from(["lm", "speed"]),
    value=st.none() | numbers,
    n=st.integers(0, 10**6),
    low=st.none() | numbers,
    reason=st.text(max_size=20),
)


def parity(slice_: str, value: float | None, n: int = 512) -> Measurement:
    return Measurement(metric="passed", suite="parity", slice=slice_, value=value, n=n)


def test_a_relative_gate_multiplies_theta_by_the_other_slice() -> None:
    """The bar of a relative gate is theta times the value of the slice it names, and both measurements are kept as evidence."""
    result = evaluate_gate(GATE, [STUDENT, UNTRAINED])
    assert (result.status, result.value, result.bar) == ("pass", 4.0, 0.6 * 13.0)
    assert result.evidence == (STUDENT, UNTRAINED)


def test_a_value_on_the_wrong_side_fails() -> None:
    """A value that misses the bar fails, and the reason shows value, bar and n."""
    result = evaluate_gate(GATE, [replace(STUDENT, value=8.0), UNTRAINED])
    assert result.status == "fail"
    assert result.reason == "kl_nats of student: 8 <= 7.8 does not hold on n = 36"


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        ([UNTRAINED], "no measurement"),
        ([STUDENT], "no measurement"),
        ([], "no measurement"),
        ([STUDENT, STUDENT, UNTRAINED], "measured 2 times"),
        ([replace(STUDENT, n=14), UNTRAINED], "n = 14"),
        ([STUDENT, replace(UNTRAINED, n=3)], "n = 3"),
        ([replace(STUDENT, value=math.nan), UNTRAINED], "is nan"),
        ([replace(STUDENT, value=math.inf), UNTRAINED], "is inf"),
        ([replace(STUDENT, value=None, reason="disk full"), UNTRAINED], "could not be measured: disk full"),
        ([replace(STUDENT, suite="tool_use"), UNTRAINED], "no measurement"),
    ],
)
def test_evidence_that_cannot_bear_a_gate_is_inconclusive(evidence: list[Measurement], word: str) -> None:
    """Missing, doubled, too small, not finite or failed measurements never pass and never fail: they are inconclusive."""
    result = evaluate_gate(GATE, evidence)
    assert result.status == "inconclusive"
    assert word in result.reason


def test_a_pattern_holds_the_worst_slice_against_the_bar() -> None:
    """A pattern in the slice takes every slice that matches, and one failing slice fails the gate."""
    gate = GateRule(id="fp16", metric="passed", suite="parity", slice="fp16/*", rule="==", theta=1.0, min_n=512)
    good, bad, other = parity("fp16/decode_64", 1.0), parity("fp16/prefill_64", 0.0), parity("ane-int8/decode_64", 0.0)
    assert evaluate_gate(gate, [good, other]).status == "pass"
    assert evaluate_gate(gate, [good, bad, other]).status == "fail"
    assert evaluate_gate(gate, [good, bad, other]).value == 0.0


@pytest.mark.parametrize("weak", [parity("fp16/prefill_64", None), parity("fp16/prefill_64", 1.0, n=100)])
def test_a_pattern_is_inconclusive_if_one_slice_is(weak: Measurement) -> None:
    """One slice without conclusive evidence leaves the whole pattern inconclusive."""
    gate = GateRule(id="fp16", metric="passed", suite="parity", slice="fp16/*", rule="==", theta=1.0, min_n=512)
    assert evaluate_gate(gate, [parity("fp16/decode_64", 1.0), weak]).status == "inconclusive"


def test_a_pattern_that_matches_nothing_is_inconclusive() -> None:
    """A pattern is no licence to have no evidence."""
    gate = GateRule(id="all", metric="passed", suite="parity", slice="*", rule="==", theta=1.0)
    assert evaluate_gate(gate, []).status == "inconclusive"


def test_a_pattern_takes_brackets_and_dots_as_they_are() -> None:
    """Only the star has a meaning in a slice pattern."""
    gate = GateRule(id="dot", metric="passed", suite="parity", slice="a.[b]*", rule="==", theta=1.0)
    assert evaluate_gate(gate, [parity("axb", 1.0)]).status == "inconclusive"
    assert evaluate_gate(gate, [parity("a.[b]c", 1.0)]).status == "pass"


def test_zero_is_a_value() -> None:
    """A measured zero is held against the bar like any other number."""
    gate = replace(GATE, relative_to=None, theta=0.0, rule="==")
    assert evaluate_gate(gate, [replace(STUDENT, value=0.0)]).status == "pass"


@given(st.lists(measurements, max_size=5))
def test_measurements_survive_their_json(values: list[Measurement]) -> None:
    """Measurements that are written and read are equal to what they were."""
    assert measurements_from_json(measurements_to_json(values)) == tuple(values)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'[{"metric":"a"}]', b'[{"metric":"a","suite":"b","value":"1","n":1}]', b"\xff"])
def test_what_is_no_list_of_measurements_is_refused(data: bytes) -> None:
    """Anything but a list of measurements in the right types is a ValueError."""
    with pytest.raises(ValueError, match="expected a JSON list"):
        measurements_from_json(data)


def test_an_unknown_field_is_refused() -> None:
    """A field that a measurement does not have is named, not dropped."""
    rows = json.loads(measurements_to_json([STUDENT]))
    rows[0]["colour"] = "red"
    with pytest.raises(ValueError, match="colour"):
        measurements_from_json(json.dumps(rows).encode())


@pytest.mark.parametrize(
    "change", [{"theta": math.nan}, {"theta": math.inf}, {"min_n": 0}, {"relative_to": "un*"}, {"id": ""}, {"metric": ""}]
)
def test_an_impossible_gate_cannot_be_made(change: dict[str, object]) -> None:
    """A gate that could never mean anything is refused when it is made."""
    with pytest.raises(ValueError, match=r".+"):
        replace(GATE, **change)


def test_gates_have_ids_of_their_own() -> None:
    """Two gates of one id in a set are refused, as a verdict could not tell them apart."""
    with pytest.raises(ValueError, match="kl"):
        GateSet(name="twice", gates=(GATE, GATE))
