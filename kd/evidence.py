"""Measurements, and the gates that are held against them; every stage that has gates uses these.

A gate passes only on evidence: a measurement that is missing, doubled, too small, not finite or could not be made leaves it inconclusive.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from attrs import asdict, field, fields, frozen, validators

__all__ = [
    "GateResult",
    "GateRule",
    "GateSet",
    "Measurement",
    "Purpose",
    "evaluate_gate",
    "measurements_from_json",
    "measurements_to_json",
]

Purpose = Literal["experiment", "internal", "release"]
"""What a candidate is approved for, from the least to the most demanding."""

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "==": operator.eq}


@frozen(kw_only=True)
class Measurement:
    """One number that was measured, with what it was measured on."""

    metric: str
    """What was measured, with its unit at the end where it has one: `kl_nats`, `perplexity`, `tool_name_accuracy`."""
    suite: str
    """Where: `lm`, `tool_use`, `speed`, `parity`, `training`."""
    slice: str = "all"
    """Which part or arm: `student`, `untrained`, `teacher`, `free`, `constrained`, `fp16/decode_64` …"""
    value: float | None
    """None where it could not be measured; `reason` then says why."""
    n: int = field(validator=validators.ge(0))
    """Number of items behind the value."""
    k: int | None = None
    """Successes among the n items, for rates."""
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval, by `method`."""
    unit: str = ""
    method: str = ""
    reason: str = ""
    subject: str = ""
    """Digest of the artifact that was measured."""


_FIELDS = tuple(attribute.name for attribute in fields(Measurement))


def _check_theta(_instance: object, _attribute: object, theta: float) -> None:
    if not math.isfinite(theta):
        raise ValueError(f"theta is {theta}, expected a finite number.")


def _check_min_n(_instance: object, _attribute: object, min_n: int) -> None:
    if min_n < 1:
        raise ValueError(f"min_n is {min_n}, expected at least 1: a gate needs evidence to pass.")


def _check_relative_to(_instance: object, _attribute: object, relative_to: str | None) -> None:
    if relative_to is not None and "*" in relative_to:
        raise ValueError(f"relative_to is {relative_to!r}, expected the name of one slice.")


@frozen(kw_only=True)
class GateRule:
    """One condition on the measurements of one metric, suite and slice."""

    id: str = field(validator=validators.min_len(1))
    metric: str = field(validator=validators.min_len(1))
    suite: str = field(validator=validators.min_len(1))
    slice: str = "all"
    """A slice, or a pattern in which `*` stands for any text: then every slice that matches must hold, and at least one must exist."""
    rule: Literal[">=", "<=", "=="]
    theta: float = field(validator=_check_theta)
    min_n: int = field(default=15, validator=_check_min_n)
    """Evidence on fewer items is inconclusive."""
    level: Literal["hard", "warn", "report"] = "hard"
    is_waivable: bool = True
    relative_to: str | None = field(default=None, validator=_check_relative_to)
    """Slice of the same metric and suite whose value multiplies `theta`: the bar is theta times that value."""


def _check_gates(_instance: object, _attribute: object, gates: tuple[GateRule, ...]) -> None:
    ids = [gate.id for gate in gates]
    doubled = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    if doubled:
        raise ValueError(f"Several gates have the id {', '.join(doubled)}: give each an id of its own.")


@frozen(kw_only=True)
class GateSet:
    """The gates of one policy, in order."""

    name: str
    version: int = 1
    purpose: Purpose = "experiment"
    """The most demanding purpose that these gates can support."""
    gates: tuple[GateRule, ...] = field(validator=_check_gates)


@frozen(kw_only=True)
class GateResult:
    """A gate held against the evidence it used; what is missing is inconclusive, which never passes."""

    gate: GateRule
    status: Literal["pass", "fail", "inconclusive"]
    value: float | None = None
    """The value that was held against the bar: the worst one if several slices matched."""
    bar: float | None
    """The number the value was held against."""
    reason: str
    evidence: tuple[Measurement, ...]


def evaluate_gate(gate: GateRule, measurements: Sequence[Measurement]) -> GateResult:
    """`gate` held against the measurements it names; no, doubled, too small or non-finite evidence is inconclusive."""
    is_match = _matcher(gate.slice)
    candidates = [m for m in measurements if (m.metric, m.suite) == (gate.metric, gate.suite)]
    found = [m for m in candidates if is_match(m.slice) and m.slice != gate.relative_to]
    bases = [m for m in candidates if m.slice == gate.relative_to]
    used = (*found, *bases)
    problem = _problem(gate, found, gate.slice)
    if problem is None and gate.relative_to is not None:
        problem = _problem(gate, bases, gate.relative_to)
    if problem is not None:
        return GateResult(gate=gate, status="inconclusive", bar=None, reason=problem, evidence=used)
    bar = gate.theta * (1.0 if gate.relative_to is None else _value(bases[0]))
    worst = max(found, key=lambda m: _shortfall(gate.rule, _value(m), bar))
    holds = _COMPARISONS[gate.rule](_value(worst), bar)
    verb = "holds" if holds else "does not hold"
    reason = f"{worst.metric} of {worst.slice}: {_value(worst):.6g} {gate.rule} {bar:.6g} {verb} on n = {worst.n}"
    if len(found) > 1:
        reason += f", the worst of {len(found)} slices"
    return GateResult(gate=gate, status="pass" if holds else "fail", value=worst.value, bar=bar, reason=reason, evidence=used)


def measurements_to_json(measurements: Iterable[Measurement]) -> bytes:
    """Canonical JSON of `measurements`, in their order."""
    rows = [asdict(measurement) for measurement in measurements]
    return json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def measurements_from_json(data: bytes) -> tuple[Measurement, ...]:
    """The inverse of `measurements_to_json`; anything else, an unknown field included, is a ValueError."""
    try:
        measurements = msgspec.json.decode(data, type=tuple[Measurement, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The measurements are unreadable, expected a JSON list of measurements: {error}.") from error
    unknown = sorted({key for row in json.loads(data) for key in row} - set(_FIELDS))
    if unknown:
        raise ValueError(f"A measurement has the unknown fields {', '.join(unknown)}, expected only {', '.join(_FIELDS)}.")
    return measurements


def _matcher(pattern: str) -> Callable[[str], bool]:
    expression = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
    return lambda text: expression.fullmatch(text) is not None


def _value(measurement: Measurement) -> float:
    assert measurement.value is not None
    return measurement.value


def _shortfall(rule: str, value: float, bar: float) -> float:
    """How far `value` is on the wrong side of `bar`; larger is worse."""
    return {">=": bar - value, "<=": value - bar}.get(rule, abs(value - bar))


def _problem(gate: GateRule, found: Sequence[Measurement], slice_: str) -> str | None:
    """Why `found` cannot bear the gate, or None."""
    if not found:
        return f"no measurement of {gate.metric} on {gate.suite}/{slice_}"
    slices = [m.slice for m in found]
    for measurement in found:
        problem = _flaw(measurement, gate.min_n, slices.count(measurement.slice))
        if problem is not None:
            return f"{gate.metric} on {gate.suite}/{measurement.slice} {problem}"
    return None


def _flaw(measurement: Measurement, min_n: int, count: int) -> str | None:
    if count > 1:
        return f"was measured {count} times, expected once"
    if measurement.value is None:
        return f"could not be measured: {measurement.reason or 'no reason given'}"
    if not math.isfinite(measurement.value):
        return f"is {measurement.value}"
    if measurement.n < min_n:
        return f"rests on n = {measurement.n}, expected at least {min_n}"
    return None
