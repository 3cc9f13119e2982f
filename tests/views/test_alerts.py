"""Alerts name a rule, the record it rests on, and nothing that did not happen."""

from __future__ import annotations

import random

import pytest
from attrs import evolve as replace
from hypothesis import given
from hypothesis import strategies as st

from kd.evidence import GateResult, GateRule
from kd.governance.events import GateEvaluated, VerdictIssued
from kd.governance.verdict import AppliedWaiver
from kd.run import events as run_events
from kd.training.events import HealthWarned
from kd.views.alerts import AlertState, apply_to_alerts, initial_alerts, live_alerts
from kd.views.rolling_window import WINDOW, RollingWindow
from tests.governance.examples import VERDICT
from tests.views.examples import RUN, START_MS, fold, planned, recorded, skipped, step, training_run

_TRAINING = f"run/{RUN}/training"


def _state(rows: list[tuple[str, object, float]]) -> AlertState:
    return fold(apply_to_alerts, initial_alerts(RUN), recorded(rows))


def _rules(state: AlertState) -> list[str]:
    return [alert.rule for alert in state.alerts]


def test_a_steady_run_raises_no_alert() -> None:
    """Losses that fall and wobble are no spikes."""
    chooser = random.Random(1)
    rows = training_run(1000)[:5] + [step(i, i, loss=3 - i / 500 + chooser.gauss(0, 0.1)) for i in range(1, 600)]
    assert _rules(_state(rows)) == []


def test_a_loss_far_above_the_last_ones_is_a_spike() -> None:
    """The alert names step, loss, median and the very record."""
    chooser = random.Random(1)
    rows = training_run(1000)[:5] + [step(i, i, loss=2 + chooser.gauss(0, 0.1)) for i in range(1, 300)]
    rows.append(step(300, 300, loss=9.0))
    records = recorded(rows)
    (alert,) = fold(apply_to_alerts, initial_alerts(RUN), records).alerts
    assert (alert.rule, alert.position) == ("loss_spike", records[-1].position)
    assert "loss 9 nats at step 300" in alert.message


def test_numbers_that_are_none_are_errors() -> None:
    """A skipped step, and a recorded one with an infinite norm, are alerts of severity error."""
    state = _state([*training_run(5), skipped(6, 8), step(7, 9, norm=float("inf"))])
    assert [(alert.rule, alert.severity) for alert in state.alerts] == [("non_finite", "error")] * 2


def test_gradient_spikes_are_those_that_the_stage_recorded() -> None:
    """The monitor's own record is the alert; the limit is not guessed again."""
    warned = HealthWarned(step=5, monitor="gradient_norm", value=31.2, limit=10.0)
    assert _rules(_state([*training_run(5), (_TRAINING, warned, 9)])) == ["grad_spike"]


@pytest.mark.parametrize(
    ("level", "status", "num_alerts"), [("hard", "fail", 1), ("hard", "inconclusive", 1), ("hard", "pass", 0), ("warn", "fail", 0)]
)
def test_hard_gates_that_do_not_pass_are_errors(level: str, status: str, num_alerts: int) -> None:
    """A hard gate that fails or is inconclusive is an alert; others are not."""
    gate = GateRule(id="g", metric="m", suite="s", rule=">=", theta=1, level=level)
    event = GateEvaluated(result=GateResult(gate=gate, status=status, bar=1.0, reason="r", evidence=()))
    assert _rules(_state([*training_run(1), (f"run/{RUN}/governance", event, 9)])) == ["gate_failed"] * num_alerts


def test_a_run_without_its_owner_is_interrupted_and_nothing_else() -> None:
    """What to do next is part of the message."""
    state = _state(training_run(5))
    (alert,) = live_alerts(state, now_ms=START_MS + 10**9, is_owned=False)
    assert alert.rule == "interrupted"
    assert alert.message.endswith(f": kd resume {RUN}")
    (alert,) = live_alerts(state, now_ms=START_MS + 10**9, is_owned=False, options="--ledger runs")
    assert alert.message.endswith(f": kd resume {RUN} --ledger runs")


def test_silence_is_measured_by_what_is_usual() -> None:
    """A run is stalled after a minute, or after ten times its usual gap if that is longer."""
    quick, slow = _state(training_run(50)), _state(training_run(40, every_seconds=30))
    assert [a.rule for a in live_alerts(quick, now_ms=START_MS + 120_000, is_owned=True)] == ["stalled"]
    assert live_alerts(slow, now_ms=START_MS + 1_201_000 + 200_000, is_owned=True) == ()
    assert [a.rule for a in live_alerts(slow, now_ms=START_MS + 1_201_000 + 301_000, is_owned=True)] == ["stalled"]


def test_a_checkpoint_that_does_not_come_is_overdue() -> None:
    """Twice the interval in seconds without a checkpoint is an alert while training is at work."""
    state = replace(_state(training_run(50)), checkpoint_every_ms=10_000)
    assert [a.rule for a in live_alerts(state, now_ms=START_MS + 60_000, is_owned=True)] == ["checkpoint_overdue"]


def test_runs_that_rest_are_left_alone() -> None:
    """A paused run, and one that ended, are neither stalled nor interrupted."""
    for event in (run_events.RunPaused(cause="request", reason="x"), run_events.RunSucceeded(verdict="approved")):
        state = _state([*training_run(5), (f"run/{RUN}", event, 10)])
        assert live_alerts(state, now_ms=START_MS + 10**9, is_owned=False) == ()


@given(st.lists(st.sampled_from([0.0, 1.0, 1.1, 1.2, 2.0, 50.0]), min_size=1, max_size=450), st.floats(0, 100))
def test_the_window_is_the_last_numbers_and_its_test_the_formula(values: list[float], value: float) -> None:
    """Median, and distance in spreads, of at most the last 200 numbers, whatever the order."""
    window = RollingWindow()
    for each in values:
        window = window.push(each)
    last = sorted(values[-WINDOW:])
    middle = (last[(len(last) - 1) // 2] + last[len(last) // 2]) / 2
    spread = sorted(abs(each - middle) for each in last)
    deviation = (spread[(len(spread) - 1) // 2] + spread[len(spread) // 2]) / 2
    assert window.median == middle
    assert [excess.median for excess in window.push_each((value,), 8.0)[1]] == [middle] * (value > middle + 8.0 * deviation)


def test_an_approval_with_waivers_warns_three_days_before_its_end_and_then_lapses() -> None:
    """Quiet until 72 h are left, then a warning, and from the end on an error; a later verdict takes both away."""
    end = START_MS + 10**9
    use = AppliedWaiver(id="CAWS-WAIVER-A", gate_id="kl", subject="s", use_number=1, expires_ms=end)
    waived = replace(VERDICT, status="approved_with_waivers", waivers=(use,), decided_at_ms=START_MS, valid_until_ms=end)
    state = _state([planned(), (f"run/{RUN}/governance", VerdictIssued(verdict=waived), 1)])
    hours = 3_600_000
    found = [live_alerts(state, now_ms=now, is_owned=False) for now in (end - 72 * hours, end - 72 * hours + 1, end - 1, end, end + hours)]
    rules = [[(alert.rule, alert.severity) for alert in each] for each in found]
    assert rules == [[], [("waiver_expiring", "warn")], [("waiver_expiring", "warn")], [("lapsed", "error")], [("lapsed", "error")]]
    assert "CAWS-WAIVER-A of gate kl" in found[-1][0].message
    later = apply_to_alerts(state, recorded([(f"run/{RUN}/governance", VerdictIssued(verdict=VERDICT), 2)])[0])
    assert live_alerts(later, now_ms=end, is_owned=False) == ()
