"""The gate sets that ship with kd."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve as replace

from kd.errors import ConfigError
from kd.evaluation.measures import measure
from kd.evidence import GateRule, GateSet, Measurement, evaluate_gate
from kd.governance.verdict import derive
from kd.run.structure import structure
from kd.run.yaml_text import parse_yaml
from tests.evaluation.examples import item, score

FOLDER = Path(__file__).parents[2] / "configs" / "gates"
SHIPPED = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(name: str) -> GateSet:
    path = FOLDER / f"{name}.yaml"
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, file: str = "gates.yaml") -> GateSet:
    gates, problems = structure(parse_yaml(text, file=file), GateSet)
    if gates is None or problems:
        raise ConfigError(problems)
    return gates


def healthy(gate: GateRule) -> tuple[Measurement, ...]:
    """Evidence on which `gate` just holds."""
    base = 4.0
    value = gate.theta * (base if gate.relative_to else 1.0)
    slices = [gate.slice.replace("*", "x"), *([gate.relative_to] if gate.relative_to else [])]
    return tuple(
        Measurement(metric=gate.metric, suite=gate.suite, slice=slice_, value=value if place == 0 else base, n=gate.min_n)
        for place, slice_ in enumerate(slices)
    )


def cases() -> list[tuple[str, GateRule]]:
    return [(name, gate) for name in SHIPPED for gate in load(name).gates]


@pytest.mark.parametrize(("name", "gate"), cases(), ids=[f"{name}-{gate.id}" for name, gate in cases()])
def test_a_gate_holds_at_its_bar_and_fails_beyond_it(name: str, gate: GateRule) -> None:
    """No shipped gate is vacuous: at the bar it passes, on the wrong side of it it fails, and on too few items it is inconclusive."""
    good = healthy(gate)
    assert good[0].value is not None
    worse = good[0].value + {">=": -0.01, "<=": 0.01, "==": -1.0}[gate.rule]
    assert evaluate_gate(gate, good).status == "pass"
    assert evaluate_gate(gate, (replace(good[0], value=worse), *good[1:])).status == "fail"
    assert evaluate_gate(gate, (replace(good[0], n=gate.min_n - 1), *good[1:])).status == "inconclusive"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_hard_gate_is_needed(name: str) -> None:
    """With all evidence at its bar the verdict approves; with the evidence of any one hard gate taken away it does not."""
    gates = load(name)
    evidence = {gate.id: healthy(gate) for gate in gates.gates}

    def status(left_out: str | None) -> str:
        found = [m for id_, measurements in evidence.items() for m in measurements if id_ != left_out]
        distinct = list({(m.metric, m.suite, m.slice): m for m in found}.values())
        removed = {(m.metric, m.suite, m.slice) for m in evidence.get(left_out or "", ())}
        results = tuple(evaluate_gate(gate, [m for m in distinct if (m.metric, m.suite, m.slice) not in removed]) for gate in gates.gates)
        return derive(purpose="experiment", candidate=(), gate_set=gates, results=results, admitted=(), refused=()).status

    assert status(None) == "approved"
    for gate in gates.gates:
        if gate.level == "hard":
            assert status(gate.id) in {"waiver_required", "rejected"}


def test_both_sets_hold_the_same_bars() -> None:
    """The toy pipeline is judged by the bars of the real one."""
    assert load("tiny").gates == load("smoke").gates


def test_gates_on_evaluation_name_what_it_measures() -> None:
    """Every gate on a suite of the evaluation names a metric that the suite has."""
    lm = (score("nll_nats", 1.0), score("kl_nats", 1.0), score("top1_agreement", 1.0))
    tools = (score("argument_accuracy", 1.0),)
    speed = (score("ttft_ns", 1.0), score("decode_ns", 1.0))
    items = (item("a", *lm, suite="lm"), item("b", *tools), item("c", *speed, suite="speed"))
    known = {(measurement.suite, measurement.metric) for measurement in measure(items)}
    named = {(gate.suite, gate.metric) for name in SHIPPED for gate in load(name).gates if gate.suite != "parity"}
    assert named <= known


def test_all_mistakes_of_a_gate_file_are_told_at_once() -> None:
    """Unknown keys, impossible values and missing keys are each reported with their line and path."""
    text = "\n".join(
        (
            "name: bad",
            "colour: red",
            "gates:",
            '  - {id: a, metric: m, suite: lm, rule: "<", theta: 1.0}',
            '  - {id: b, metric: m, suite: lm, rule: "<=", theta: high}',
            '  - {id: c, metric: m, suite: lm, rule: "<=", theta: 1.0, min_n: 0}',
            "  - {id: d, metric: m, suite: lm, theta: 1.0}",
        )
    )
    with pytest.raises(ConfigError) as caught:
        parse(text)
    problems = {(problem.path, problem.line) for problem in caught.value.problems}
    assert problems >= {("colour", 2), ("gates.0.rule", 4), ("gates.1.theta", 5), ("gates.2.min_n", 6), ("gates.3.rule", 7)}
