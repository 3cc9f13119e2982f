"""What deserves attention in a run: rules over its records, and rules over the time since the last one.

rule                severity  when
non_finite          error     loss or gradient norm of a step is no finite number
reproduction        error     a recorded step was executed again with another result
stage_failed        error     a stage gave up
gate_failed         error     a hard gate fails or is inconclusive
loss_spike          warn      loss above median + 8 x 1.4826 x MAD of the 200 steps before
grad_spike          warn      gradient norm above 10 x median of the 200 steps before, as the training stage recorded it
checkpoint_rejected warn      the bytes of a checkpoint are not what they were
request_rejected    warn      the teacher's answer to a request will be missing
interrupted         error     the run is at work and nobody owns it
stalled             warn      no record for max(60 s, 10 x the 95th percentile of the gaps so far)
checkpoint_overdue  warn      the newest checkpoint is older than twice the interval

lapsed              error     an approval has ended with the first of its waivers
waiver_expiring     warn      less than 72 h are left of it

The last five depend on the present: `live_alerts`. Rules about budgets wait for events that say something of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import sub
from typing import Any, Literal

from attrs import field, frozen

from kd.generation.events import RequestRejected
from kd.governance.events import GateEvaluated, VerdictIssued
from kd.governance.verdict import Verdict
from kd.run.events import (
    RunCancelled,
    RunFailed,
    RunPaused,
    RunPlanned,
    RunRejected,
    RunResumed,
    RunStarted,
    RunSucceeded,
    StageFailed,
)
from kd.training.events import (
    CheckpointRejected,
    CheckpointSaved,
    HealthWarned,
    ReproductionFailed,
    StepCompleted,
    StepSkipped,
    TrainingCompleted,
    TrainingFailed,
    TrainingResumed,
    TrainingStarted,
)
from kd.views.rolling_window import RecentNumbers, RollingWindow
from kd.views.run_streams import is_of_run
from kd.views.shared_list import SharedList
from kd.views.waiver_table import left_text
from ledger.record import Record

__all__ = ["Alert", "AlertState", "apply_steps_to_alerts", "apply_to_alerts", "initial_alerts", "live_alerts"]

_SPIKE = 8 * 1.4826
_MIN_STEPS = 50
"""With fewer steps before it, no loss is called a spike."""
_STALL_MS = 60_000
_EXPIRING_MS = 72 * 3_600_000


@frozen(kw_only=True)
class Alert:
    """One thing to look at."""

    rule: str
    severity: Literal["error", "warn"]
    message: str
    position: int
    """The record it rests on."""


@frozen
class AlertState:
    """Alerts of `run` so far, and what later ones depend on."""

    run: str
    alerts: SharedList[Alert] = field(factory=SharedList)
    losses: RollingWindow = field(factory=RollingWindow)
    gaps_ms: RecentNumbers = field(factory=RecentNumbers)
    """Between the records of a run at work."""
    last_ms: int | None = None
    last_position: int = -1
    is_at_work: bool = False
    checkpoint_every_ms: float | None = None
    """None while no training is at work."""
    checkpoint_ms: int = 0
    """When the newest checkpoint was saved, or training began or went on."""
    checkpoint_position: int = -1
    verdict: tuple[int, Verdict] | None = None
    """The newest one, behind the position of its record."""


def initial_alerts(run: str) -> AlertState:
    """No alert."""
    return AlertState(run)


def apply_to_alerts(state: AlertState, record: Record) -> AlertState:
    """The alerts after `record`; records of other runs change nothing."""
    if not is_of_run(record.stream, state.run):
        return state
    if type(record.event) is StepCompleted:
        return apply_steps_to_alerts(state, (record,))
    event, time_ms, alerts, losses, gaps_ms = record.event, record.time_ms, state.alerts, state.losses, state.gaps_ms
    every_ms, since_ms, since, verdict = state.checkpoint_every_ms, state.checkpoint_ms, state.checkpoint_position, state.verdict
    if state.last_ms is not None and state.is_at_work:
        gaps_ms = gaps_ms.push(time_ms - state.last_ms)
    alert_of = _ALERTS.get(type(event))
    found = None if alert_of is None else alert_of(event)
    if found is not None:
        rule, severity, message = found
        alerts = alerts.append(Alert(rule=rule, severity=severity, message=message, position=record.position))
    match event:
        case TrainingStarted(config=config):
            every_ms, since_ms, since = config.checkpoint.every_seconds * 1000, time_ms, record.position
        case CheckpointSaved() | TrainingResumed():
            since_ms, since = time_ms, record.position
        case TrainingCompleted() | TrainingFailed():
            every_ms = None
        case VerdictIssued():
            verdict = (record.position, event.verdict)
        case _:
            pass
    is_at_work = _IS_AT_WORK.get(type(event), state.is_at_work)
    return AlertState(state.run, alerts, losses, gaps_ms, time_ms, record.position, is_at_work, every_ms, since_ms, since, verdict)


def apply_steps_to_alerts(state: AlertState, records: Sequence[Record]) -> AlertState:
    """The alerts after `records`, all of them steps that the run completed: the same as one after the other, faster."""
    alerts, losses, gaps_ms = state.alerts, state.losses, state.gaps_ms
    if state.is_at_work:
        times_ms = [*(() if state.last_ms is None else (state.last_ms,)), *(record.time_ms for record in records)]
        gaps_ms = gaps_ms.push(*map(sub, times_ms[1:], times_ms))
    finite: list[Record] = []
    for record in records:
        event: Any = record.event
        loss, norm = event.loss_nats, event.grad_norm
        if loss - loss or norm - norm:  # NaN and infinity less themselves are NaN
            alerts, losses = _with_losses(alerts, losses, finite)
            alerts, finite = alerts.append(_non_finite(record, event)), []
        else:
            finite.append(record)
    alerts, losses = _with_losses(alerts, losses, finite)
    last = records[-1]
    return AlertState(
        state.run,
        alerts,
        losses,
        gaps_ms,
        last.time_ms,
        last.position,
        state.is_at_work,
        state.checkpoint_every_ms,
        state.checkpoint_ms,
        state.checkpoint_position,
        state.verdict,
    )


def live_alerts(state: AlertState, *, now_ms: int, is_owned: bool, options: str = "") -> tuple[Alert, ...]:
    """Alerts of the present moment; in the past, `now_ms` is the time of the last record and `is_owned` what claims and releases say.

    `options` goes behind the commands that they name, such as `--ledger DIR` where that is not the default.
    """
    if not state.is_at_work or state.last_ms is None:
        return _alerts_of_waivers(state, now_ms)
    if not is_owned:
        message = f"nobody works on the run; go on with: kd resume {state.run} {options}".rstrip()
        return (Alert(rule="interrupted", severity="error", message=message, position=state.last_position),)
    found = []
    silence_ms = now_ms - state.last_ms
    gaps_ms = state.gaps_ms.window()
    limit_ms = max(_STALL_MS, 10 * gaps_ms.percentile(95)) if len(gaps_ms) else _STALL_MS
    if silence_ms > limit_ms:
        message = f"no record for {silence_ms / 1000:.0f} s, expected one within {limit_ms / 1000:.0f} s"
        found.append(Alert(rule="stalled", severity="warn", message=message, position=state.last_position))
    age_ms = now_ms - state.checkpoint_ms
    if state.checkpoint_every_ms and age_ms > 2 * state.checkpoint_every_ms:
        message = f"no checkpoint for {age_ms / 1000:.0f} s, expected one every {state.checkpoint_every_ms / 1000:.0f} s"
        found.append(Alert(rule="checkpoint_overdue", severity="warn", message=message, position=state.checkpoint_position))
    return tuple(found)


def _alerts_of_waivers(state: AlertState, now_ms: int) -> tuple[Alert, ...]:
    position, verdict = state.verdict or (-1, None)
    if verdict is None or verdict.valid_until_ms is None:
        return ()
    first = min(verdict.waivers, key=lambda applied: applied.expires_ms)
    left_ms = verdict.valid_until_ms - now_ms
    if left_ms <= 0:
        message = f"the approval lapsed {left_text(-left_ms)} ago with waiver {first.id} of gate {first.gate_id}"
        return (Alert(rule="lapsed", severity="error", message=message, position=position),)
    if left_ms < _EXPIRING_MS:
        message = f"the approval lapses in {left_text(left_ms)} with waiver {first.id} of gate {first.gate_id}"
        return (Alert(rule="waiver_expiring", severity="warn", message=message, position=position),)
    return ()


def _with_losses(alerts: SharedList[Alert], losses: RollingWindow, records: Sequence[Record]) -> tuple[SharedList[Alert], RollingWindow]:
    events: list[StepCompleted] = [record.event for record in records]  # type: ignore[misc]  # as apply_steps_to_alerts says
    losses, found = losses.push_each([event.loss_nats for event in events], _SPIKE, _MIN_STEPS)
    for excess in found:
        event = events[excess.index]
        message = f"loss {event.loss_nats:.6g} nats at step {event.step}, median {excess.median:.6g}"
        alert = Alert(rule="loss_spike", severity="warn", message=message, position=records[excess.index].position)
        alerts = alerts.append(alert)
    return alerts, losses


def _non_finite(record: Record, event: StepCompleted) -> Alert:
    message = f"loss {event.loss_nats:.6g} nats, gradient norm {event.grad_norm:.6g} at step {event.step}"
    return Alert(rule="non_finite", severity="error", message=message, position=record.position)


def _gate(event: GateEvaluated) -> _Found | None:
    result = event.result
    if result.gate.level != "hard" or result.status == "pass":
        return None
    return "gate_failed", "error", f"{result.gate.id}: {result.reason}"


_Found = tuple[str, Literal["error", "warn"], str]
_ALERTS: Mapping[type, Callable[[Any], _Found | None]] = {
    StepSkipped: lambda event: ("non_finite", "error", f"step {event.step} was skipped: {event.reason}"),
    ReproductionFailed: lambda event: ("reproduction", "error", f"{event.field} of step {event.step}: {event.found}, was {event.recorded}"),
    StageFailed: lambda event: ("stage_failed", "error", f"{event.stage}: {event.reason}"),
    GateEvaluated: _gate,
    HealthWarned: lambda event: ("grad_spike", "warn", f"gradient norm {event.value:.6g} at step {event.step}, limit {event.limit:.6g}"),
    CheckpointRejected: lambda event: ("checkpoint_rejected", "warn", f"checkpoint of step {event.step}: {event.reason}"),
    RequestRejected: lambda event: ("request_rejected", "warn", f"request {event.request_key[:12]}: {event.reason}"),
}
_IS_AT_WORK: Mapping[type, bool] = {
    RunPlanned: False,
    RunStarted: True,
    RunResumed: True,
    RunPaused: False,
    RunCancelled: False,
    RunFailed: False,
    RunRejected: False,
    RunSucceeded: False,
}
