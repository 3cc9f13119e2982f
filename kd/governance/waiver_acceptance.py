"""Whether a waiver can be accepted: every reason against it at once, a sentence each. Pure."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve as replace
from attrs import frozen

from kd.governance.config import WaiverPolicy
from kd.governance.verdict import Verdict, Violation
from kd.governance.waivers import IMPACTS, REASON_CODES, Waiver, WaiverBook, WaiverLimit, is_named_rightly, reaches, standing_of, to_waive

__all__ = ["MIN_MITIGATION", "Judgement", "acceptance_problems", "waiver_problems"]

MIN_MITIGATION = 50
"""Characters that say what is done about the risk meanwhile."""
_UNSEEN = ("Cc", "Cf")
"""Categories of characters that control how others are shown."""
_HOUR_MS = 3_600_000
_HOTFIX_HOURS = 72
_TEXTS = {
    "title": "title",
    "description": "description",
    "risk_owner": "risk owner",
    "requested_by": "name of who asks",
    "approved_by": "name of who approves",
}


@frozen(kw_only=True)
class Judgement:
    """What a run's verdict says, and the waivers that were granted since or before."""

    verdict: Verdict
    book: WaiverBook
    unanswered: tuple[Waiver, ...]
    """Granted, and not answered until an owner takes up the run."""


def acceptance_problems(waiver: Waiver, verdict: Verdict, book: WaiverBook, now_ms: int) -> tuple[str, ...]:
    """Every reason, a sentence each, why `waiver` cannot be accepted at `now_ms` for what `verdict` says; none if it can."""
    return (
        *_problems_of_repetition(waiver, book),
        *_problems_of_texts(waiver),
        *_problems_of_people(waiver),
        *_problems_of_time(waiver, book.policy, now_ms),
        *_problems_of_limits(waiver, verdict),
        *_problems_of_number(waiver, book, now_ms),
    )


def waiver_problems(waiver: Waiver, judgement: Judgement, now_ms: int) -> tuple[str, ...]:
    """Why the waiver would be rejected, taking it that those that wait for an answer are accepted."""
    book = replace(judgement.book, accepted=(*judgement.book.accepted, *judgement.unanswered))
    return acceptance_problems(waiver, to_waive(judgement.verdict, book, now_ms), book, now_ms)


def _problems_of_repetition(waiver: Waiver, book: WaiverBook) -> Iterator[str]:
    if waiver.id in book.answered:
        yield f"Waiver {waiver.id} was answered already: ask for a new one."


def _problems_of_texts(waiver: Waiver) -> Iterator[str]:
    if not is_named_rightly(waiver):
        yield f"The id {waiver.id} is not that of the waiver's content: make the waiver anew."
    for name, words in _TEXTS.items():
        if not getattr(waiver, name).strip():
            yield f"The {words} is empty: fill it in."
    num_characters = len(waiver.mitigation.strip())
    if num_characters < MIN_MITIGATION:
        yield (
            f"The mitigation has {num_characters} characters, expected at least {MIN_MITIGATION}:"
            " say what is done about the risk while the waiver holds."
        )
    if waiver.reason_code not in REASON_CODES:
        yield f"The reason code is {waiver.reason_code!r}, expected one of {', '.join(REASON_CODES)}."
    if waiver.impact not in IMPACTS:
        yield f"The impact is {waiver.impact!r}, expected one of {', '.join(IMPACTS)}."
    if waiver.max_uses < 1:
        yield f"The waiver may be used {waiver.max_uses} times, expected at least 1."


def _problems_of_people(waiver: Waiver) -> Iterator[str]:
    for words, name in (("who asks", waiver.requested_by), ("who approves", waiver.approved_by), ("the risk owner", waiver.risk_owner)):
        unseen = sorted({f"U+{ord(character):04X}" for character in name if unicodedata.category(character) in _UNSEEN})
        if unseen:
            yield f"The name of {words} holds {', '.join(unseen)}, which nobody sees: type it anew."
    asked, approved = _identity(waiver.requested_by), _identity(waiver.approved_by)
    if asked and asked == approved:
        yield f"{waiver.approved_by} asked for the waiver and approves it: let somebody else approve it."


def _identity(name: str) -> str:
    """The name less what makes no other person of it: width, case, white space, and what is not seen."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(character for character in folded if not character.isspace() and unicodedata.category(character) not in _UNSEEN)


def _problems_of_time(waiver: Waiver, policy: WaiverPolicy, now_ms: int) -> Iterator[str]:
    if now_ms < waiver.created_ms:
        yield f"The waiver begins {_span(waiver.created_ms - now_ms)} from now: check the clocks."
    if waiver.expires_ms <= waiver.created_ms:
        yield "The waiver ends before it begins: choose a later end."
    elif now_ms >= waiver.expires_ms:
        yield f"The waiver ended {_span(now_ms - waiver.expires_ms)} ago: ask for a new one."
    hours = policy.max_days * 24
    if waiver.reason_code == "emergency_hotfix":
        hours = min(hours, _HOTFIX_HOURS)
    life_ms = waiver.expires_ms - waiver.created_ms
    if life_ms > hours * _HOUR_MS:
        whose = "an emergency hotfix lives" if waiver.reason_code == "emergency_hotfix" else "a waiver lives"
        longest = f"{hours} hours" if hours <= _HOTFIX_HOURS else f"{hours // 24} days"
        yield f"The waiver lives for {_span(life_ms)}, and {whose} for {longest} at most: choose an earlier end."


def _problems_of_limits(waiver: Waiver, verdict: Verdict) -> Iterator[str]:
    if verdict.status != "waiver_required":
        yield f"The verdict is {verdict.status}, expected waiver_required: there is nothing that a waiver could change."
        return
    if not waiver.limits:
        yield "The waiver names no gate: name the one that it is for."
    named = [limit.gate_id for limit in waiver.limits]
    for gate_id in sorted({gate_id for gate_id in named if named.count(gate_id) > 1}):
        yield f"The waiver names gate {gate_id} more than once: give each gate one limit."
    violations = {violation.gate_id: violation for violation in verdict.violations}
    statuses = {gate.id: gate.status for gate in verdict.gates}
    for limit in waiver.limits:
        violation = violations.get(limit.gate_id)
        if violation is None:
            yield _unviolated(limit.gate_id, statuses, violations)
        elif not violation.is_waivable:
            yield f"Gate {limit.gate_id} may not be waived, by the rule of its gate set."
        elif limit.worst is not None and not math.isfinite(limit.worst):
            yield f"The limit of gate {limit.gate_id} is {limit.worst}, expected a finite number: a waiver has a worst value."
        elif not reaches(waiver, violation) and named.count(limit.gate_id) == 1:
            yield _out_of_reach(limit, violation)


def _unviolated(gate_id: str, statuses: Mapping[str, str], violations: Iterable[str]) -> str:
    if gate_id in statuses:
        return f"Gate {gate_id} ({statuses[gate_id]}) does not stand against approval: there is nothing to waive."
    return f"There is no gate {gate_id!r} in the verdict: what stands against approval is {', '.join(violations)}."


def _out_of_reach(limit: WaiverLimit, violation: Violation) -> str:
    gate = limit.gate_id
    if violation.observed is None:
        return f"Gate {gate} is inconclusive, so no value can be accepted of it: only the limit 'inconclusive' covers it."
    if limit.worst is None:
        return f"Gate {gate} is not inconclusive: its value is {violation.observed!r}; give the worst value that is accepted."
    value, bar = f"{violation.observed!r}", f"{violation.bar!r}"
    return f"The value of gate {gate} is {value} and its bar {bar}: the limit {limit.worst!r} does not reach from the bar to the value."


def _problems_of_number(waiver: Waiver, book: WaiverBook, now_ms: int) -> Iterator[str]:
    active = [one for one in book.accepted if standing_of(one, now_ms, book.uses_of(one.id)) == "active"]
    if len(active) >= book.policy.max_active:
        yield f"{len(active)} waivers of this run are active, and no more than {book.policy.max_active} may be: wait until one ends."
    for limit in waiver.limits:
        num_same = sum(any(other.gate_id == limit.gate_id for other in one.limits) for one in active)
        if num_same >= book.policy.per_gate:
            yield f"{num_same} waivers of gate {limit.gate_id} are active, and no more than {book.policy.per_gate} may be."


def _span(milliseconds: int) -> str:
    hours = milliseconds / _HOUR_MS
    number, unit = (f"{hours / 24:.3g}", "day") if hours >= 48 else (f"{hours:.3g}", "hour")
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"
