"""The gates of a run, the verdict, the waivers, and the records that they rest on."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from kd.conversion.events import ParityMeasured as PackageParityMeasured
from kd.evaluation.events import MeasurementRecorded
from kd.evidence import GateResult, GateRule, Measurement, Purpose
from kd.export.events import ParityMeasured
from kd.governance.events import EvidenceAdmitted, EvidenceRefused, GateEvaluated, GovernanceStarted, VerdictIssued
from kd.governance.verdict import Evidence, Refusal, Verdict
from kd.views.run_streams import is_of_run
from kd.views.shared_list import SharedList
from kd.views.waiver_table import WAIVER_EVENTS, WaiverTable, apply_to_waiver_table
from ledger.record import Record

__all__ = ["EvidenceRow", "GateRow", "GateState", "GateTable", "VerdictRow", "apply_to_gate_table", "initial_gate_table", "rule_text"]

GateState = Literal["pass", "fail", "inconclusive", "waiting"]

_SIGNS = {">=": "≥", "<=": "≤", "==": "="}


@frozen(kw_only=True)
class EvidenceRow:
    """A measurement that a gate used, and the record that brought it into the ledger."""

    measurement: Measurement
    position: int | None
    """None where no record of this run says it."""


@frozen(kw_only=True)
class GateRow:
    """One gate."""

    gate: GateRule
    rule: str
    """`≥ 0.9`; where it goes by another slice, what that comes to."""
    status: GateState
    """`waiting` until it was evaluated."""
    value: float | None
    bar: float | None
    low: float | None
    """Ends of the 95 % interval of the value, where it was measured with one."""
    high: float | None
    n: int | None
    reason: str
    evidence: tuple[EvidenceRow, ...]
    position: int | None
    """Of the record that says how it ended."""


@frozen(kw_only=True)
class VerdictRow:
    """The verdict and its record."""

    verdict: Verdict
    position: int


@frozen
class GateTable:
    """The judgement of `run` so far."""

    run: str
    planned: tuple[GateRule, ...] = ()
    purpose: Purpose | None = None
    results: SharedList[tuple[int, GateResult]] = field(factory=SharedList)
    """Each with the position of its record."""
    measurements: SharedList[tuple[int, Measurement]] = field(factory=SharedList)
    admitted: tuple[tuple[int, Evidence], ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()
    verdict: VerdictRow | None = None
    waivers: WaiverTable = field(factory=WaiverTable)

    def rows(self) -> tuple[GateRow, ...]:
        """All gates in the order of the policy, those that wait included."""
        places: dict[Measurement, int] = {}
        for position, measurement in self.measurements:
            places.setdefault(measurement, position)
        done = {result.gate.id: (position, result) for position, result in self.results}
        rules = self.planned or tuple(result.gate for _, result in self.results)
        return tuple(_waiting(rule) if rule.id not in done else _row(*done[rule.id], places) for rule in rules)

    def counts(self) -> dict[GateState, int]:
        """Gates by state."""
        found: dict[GateState, int] = {"pass": 0, "fail": 0, "inconclusive": 0, "waiting": 0}
        for _, result in self.results:
            found[result.status] += 1
        found["waiting"] = max(0, len(self.planned) - len(self.results))
        return found


def initial_gate_table(run: str) -> GateTable:
    """Nothing is judged."""
    return GateTable(run)


def apply_to_gate_table(state: GateTable, record: Record) -> GateTable:
    """The table after `record`; records of other runs change nothing."""
    if not isinstance(record.event, _EVENTS) or not is_of_run(record.stream, state.run):
        return state
    return _with_event(state, record, apply_to_waiver_table(state.waivers, record, state.run))


def rule_text(gate: GateRule, bar: float | None = None) -> str:
    """`≥ 0.9`, or `≤ 0.6 × untrained = 10.2` where the bar goes by another slice."""
    sign = _SIGNS[gate.rule]
    if gate.relative_to is None:
        return f"{sign} {gate.theta:.6g}"
    return f"{sign} {gate.theta:.6g} × {gate.relative_to}" + ("" if bar is None else f" = {bar:.6g}")


def _with_event(state: GateTable, record: Record, waivers: WaiverTable) -> GateTable:
    event: Any = record.event
    position = record.position
    planned, purpose, results, measurements = state.planned, state.purpose, state.results, state.measurements
    admitted, refused, verdict = state.admitted, state.refused, state.verdict
    match event:
        case MeasurementRecorded(measurement=measurement):
            measurements = measurements.append((position, measurement))
        case ParityMeasured(measurements=found) | PackageParityMeasured(measurements=found):
            for measurement in found:
                measurements = measurements.append((position, measurement))
        case GovernanceStarted(config=config):
            planned, purpose = config.gates.gates, config.purpose
        case GateEvaluated(result=result):
            results = results.append((position, result))
        case EvidenceAdmitted(evidence=evidence):
            admitted = (*admitted, (position, evidence))
        case EvidenceRefused(refusal=refusal):
            refused = (*refused, (position, refusal))
        case VerdictIssued():
            verdict = VerdictRow(verdict=event.verdict, position=position)
    return GateTable(state.run, planned, purpose, results, measurements, admitted, refused, verdict, waivers)


def _row(position: int, result: GateResult, places: dict[Measurement, int]) -> GateRow:
    gate = result.gate
    held = [used for used in result.evidence if used.slice != gate.relative_to]
    worst = next((used for used in held if used.value == result.value and result.value is not None), None)
    return GateRow(
        gate=gate,
        rule=rule_text(gate, result.bar),
        status=result.status,
        value=result.value,
        bar=result.bar,
        low=None if worst is None else worst.low,
        high=None if worst is None else worst.high,
        n=None if worst is None else worst.n,
        reason=result.reason,
        evidence=tuple(EvidenceRow(measurement=used, position=places.get(used)) for used in result.evidence),
        position=position,
    )


def _waiting(gate: GateRule) -> GateRow:
    return GateRow(
        gate=gate,
        rule=rule_text(gate),
        status="waiting",
        value=None,
        bar=None,
        low=None,
        high=None,
        n=None,
        reason="not evaluated yet",
        evidence=(),
        position=None,
    )


_EVENTS = (
    MeasurementRecorded,
    ParityMeasured,
    PackageParityMeasured,
    GovernanceStarted,
    GateEvaluated,
    EvidenceAdmitted,
    EvidenceRefused,
    *WAIVER_EVENTS,
)
