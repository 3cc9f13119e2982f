"""Tables of evaluation, gates, requests and comparison say what the records say."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.evaluation.events import EvaluationPlanned, EvaluationStarted, ItemEvaluated, MeasurementRecorded, Score, SuitePlan
from kd.evidence import GateResult, GateRule, GateSet, Measurement, evaluate_gate
from kd.generation.events import AttemptEnded, AttemptStarted, ReplyReused, RequestRejected, RequestsPlanned, TokenUsage
from kd.governance.config import GovernanceConfig
from kd.governance.events import GateEvaluated, GovernanceStarted
from kd.run.config import RunConfig
from kd.views.comparison import ABSENT, RunFacts, apply_to_facts, compare_measurements, config_rows, initial_facts
from kd.views.dataset_sample import apply_to_samples, initial_samples, planned_prompts, reply_text
from kd.views.eval_table import EvalTable, apply_to_eval_table, flips, initial_eval_table
from kd.views.gate_table import apply_to_gate_table, initial_gate_table
from tests.views.examples import RUN, Row, blob, config, fold, planned, recorded

_GATE = GateRule(id="tools.valid", metric="call_validity", suite="tool_use", slice="free", rule=">=", theta=0.9, min_n=2)
_RELATIVE = replace(_GATE, id="lm.kl", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=0.6, relative_to="untrained")


def _measured(value: float | None = 0.8, *, suite: str = "tool_use", metric: str = "call_validity", **changes: object) -> Measurement:
    found = Measurement(metric=metric, suite=suite, slice="free", value=value, n=5, low=0.5, high=0.9, unit="share", method="Wilson")
    return replace(found, **changes)


def _item(name: str, right: int, arm: str = "free", outcome: str = "completed", run: str = RUN) -> Row:
    scores = (Score(name="right_call", total=right),) if outcome == "completed" else ()
    event = ItemEvaluated(suite="tool_use", arm=arm, item_id=name, subject="s" * 64, outcome=outcome, scores=scores, transcript=blob())
    return f"run/{run}/evaluation", event, 1


def _evaluation(
    *measurements: Measurement, items: tuple[str, ...] = ("a", "b"), run: str = RUN, settings: RunConfig | None = None
) -> list[Row]:
    stream, settings = f"run/{run}/evaluation", settings or config()
    plan = SuitePlan(suite="tool_use", arms=("free", "constrained"), item_ids=items)
    return [
        planned(run, settings),
        (stream, EvaluationStarted(config=settings.evaluation, inputs=(), seed=1), 1),
        (stream, EvaluationPlanned(suites=(plan,)), 1),
        *((stream, MeasurementRecorded(measurement=measurement), 2) for measurement in measurements),
    ]


def _gate_event(result: GateResult) -> Row:
    return f"run/{RUN}/governance", GateEvaluated(result=result), 3


def _table(rows: list[Row]) -> EvalTable:
    return fold(apply_to_eval_table, initial_eval_table(RUN), recorded(rows))


def test_measurements_stand_with_their_gates() -> None:
    """A row is a recorded measurement, its record, and the gates that rest on it; the base of a relative gate is not gated."""
    student, untrained = (
        _measured(2.0, suite="lm", metric="kl_nats", slice="student"),
        _measured(4.0, suite="lm", metric="kl_nats", slice="untrained"),
    )
    found = [_measured(), student, untrained]
    rows = [*_evaluation(*found), *(_gate_event(evaluate_gate(gate, found)) for gate in (_GATE, _RELATIVE))]
    records = recorded(rows)
    table = _table(rows)
    assert [(row.measurement, [gate.gate.id for gate in row.gates]) for row in table.rows()] == [
        (found[0], ["tools.valid"]),
        (student, ["lm.kl"]),
        (untrained, []),
    ]
    assert [records[row.position - 1].name for row in table.rows()] == ["evaluation.measurement_recorded"] * 3
    assert table.num_planned == 4


def test_flips_tell_better_worse_same_and_errors_apart() -> None:
    """Only items that both sides answered are compared; an error is neither better nor worse."""
    before = _table([_item("a", 0), _item("b", 1), _item("c", 1), _item("d", 0, outcome="too_long"), _item("e", 1)])
    after = _table([_item("a", 1), _item("b", 0), _item("c", 1), _item("d", 1), _item("f", 1)])
    found = flips(before.items_of("tool_use", "free"), after.items_of("tool_use", "free"), "right_call")
    assert [(flip.item_id, flip.change) for flip in found.flips] == [("a", "better"), ("b", "worse")]
    assert (found.num_better, found.num_worse, found.num_same, found.num_errors, found.num_unpaired) == (1, 1, 1, 1, 2)
    assert before.num_errors == 1


def test_gates_show_rule_value_interval_and_evidence() -> None:
    """A gate's row has the interval of the value it was held against and the record of that measurement."""
    rows = [*_evaluation(_measured()), _gate_event(evaluate_gate(_GATE, [_measured()]))]
    records = recorded(rows)
    (row,) = fold(apply_to_gate_table, initial_gate_table(RUN), records).rows()
    assert (row.status, row.rule, row.value, row.low, row.high, row.n) == ("fail", "≥ 0.9", 0.8, 0.5, 0.9, 5)
    assert [(e.measurement, e.position) for e in row.evidence] == [(_measured(), records[3].position)]
    assert row.position == records[-1].position


def test_a_relative_rule_says_what_it_comes_to() -> None:
    """The bar of a gate that goes by another slice is written out."""
    found = [_measured(v, suite="lm", metric="kl_nats", slice=s) for v, s in ((2.0, "student"), (4.0, "untrained"))]
    state = fold(apply_to_gate_table, initial_gate_table(RUN), recorded([_gate_event(evaluate_gate(_RELATIVE, found))]))
    assert state.rows()[0].rule == "≤ 0.6 × untrained = 2.4"
    assert state.rows()[0].evidence[0].position is None


def test_gates_wait_until_they_are_evaluated() -> None:
    """All gates of the policy are there from the start of the stage on; what is missing is no pass."""
    policy = GovernanceConfig(gates=GateSet(name="p", gates=(_GATE, replace(_GATE, id="other"))))
    started = (f"run/{RUN}/governance", GovernanceStarted(config=policy, inputs=(), seed=1), 1)
    state = fold(apply_to_gate_table, initial_gate_table(RUN), recorded([started, _gate_event(evaluate_gate(_GATE, []))]))
    assert [(row.gate.id, row.status) for row in state.rows()] == [("tools.valid", "inconclusive"), ("other", "waiting")]
    assert state.counts() == {"pass": 0, "fail": 0, "inconclusive": 1, "waiting": 1}


def test_requests_become_rows() -> None:
    """Each planned request has a row: attempts, cost, and answered, reused, rejected, under way or open."""
    stream, usage = f"run/{RUN}/generation", TokenUsage(prompt_tokens=5, output_tokens=2)

    def ended(key: str, attempt: int, *, is_accepted: bool) -> object:
        reply, spent = (blob(), usage) if is_accepted else (None, None)
        outcome = "accepted" if is_accepted else "unanswered"
        return AttemptEnded(request_key=key, attempt=attempt, outcome=outcome, reply=reply, usage=spent, num_sends=2, seconds=1.0)

    events = [
        RequestsPlanned(keys=("a", "b", "c", "d", "e")),
        AttemptStarted(request_key="a", attempt=0),
        ended("a", 0, is_accepted=False),
        AttemptStarted(request_key="a", attempt=1),
        ended("a", 1, is_accepted=True),
        ReplyReused(request_key="b", reply=blob(), from_position=1),
        RequestRejected(request_key="c", kind="schema", reason="no", num_attempts=2),
        AttemptStarted(request_key="d", attempt=0),
    ]
    state = fold(apply_to_samples, initial_samples(RUN), recorded([(stream, event, i) for i, event in enumerate(events)]))
    rows = state.rows()
    assert [row.decision for row in rows] == ["answered", "reused", "rejected", "asking", "open"]
    assert (rows[0].num_attempts, rows[0].num_sends, rows[0].seconds, rows[0].usage) == (2, 4, 2.0, usage)
    assert (state.num_open, state.num_answered, state.num_rejected) == (2, 2, 1)
    assert state.rejections() == {"schema": 1}


def test_texts_come_from_blobs() -> None:
    """Prompts are found by the key of their request, replies by their text; anything else is a ValueError."""
    item = b'{"key":"k","kind":"plain","split":"val","labels":{"scenario":"s"},"messages":[{"role":"user","content":"hi"}],"tools":[]}'
    plan = b'{"items":[' + item + b"]}"
    assert planned_prompts(plan)["k"].messages == (("user", "hi"),)
    assert reply_text(b'{"text":"so"}') == "so"
    for data in (b"", b"[]", b'{"items":[{"key":"k"}]}', b"\xff"):
        with pytest.raises(ValueError, match=r"is no|has no"):
            (planned_prompts if b"items" in data else reply_text)(data)


def _facts(*measurements: Measurement, run: str = RUN, **changes: object) -> RunFacts:
    return fold(apply_to_facts, initial_facts(run), recorded(_evaluation(*measurements, run=run, **changes)))


def test_equal_conditions_may_be_compared() -> None:
    """Runs that measured alike on the same items have no reason against it."""
    (row,) = compare_measurements([_facts(_measured()), _facts(_measured(0.9), run="b")])
    assert [m.value for m in row.measurements if m is not None] == [0.8, 0.9]
    assert row.reasons == ()


@pytest.mark.parametrize(
    ("measurement", "items", "reason"),
    [
        (_measured(), ("a", "c"), "on different items"),
        (_measured(method="other"), ("a", "b"), "measured by different methods"),
        (_measured(unit="nats"), ("a", "b"), "in different units"),
        (_measured(None), ("a", "b"), "could not be measured in every run"),
        (_measured(metric="right_call"), ("a", "b"), "not measured in every run"),
    ],
)
def test_what_stands_against_a_comparison_is_said(measurement: Measurement, items: tuple[str, ...], reason: str) -> None:
    """Other items, methods, units, or nothing measured."""
    row = compare_measurements([_facts(_measured()), _facts(measurement, run="b", items=items)])[0]
    assert row.reasons == (reason,)


def test_configs_differ_where_their_values_do() -> None:
    """Only keys that differ, or all; a run whose config is not known has none of them."""
    rows = config_rows([config(), config(steps=7)])
    assert [(row.path, row.values) for row in rows] == [("training.steps", (config().training.steps, 7))]
    assert len(config_rows([config(), config()], is_all=True)) > 50
    assert config_rows([config(), None])[0].values[1] is ABSENT
