"""`kd judge`: a run's verdict, and waivers for what stands against it."""

from __future__ import annotations

from typing import Annotated, Any

from attrs import asdict
from cyclopts import App, Parameter

from kd import api
from kd.cli.exit_codes import DONE, NEEDS_WAIVER, REJECTED
from kd.cli.history import At
from kd.cli.links import find_run_place
from kd.cli.options import JsonFlag, LedgerPath, RunName
from kd.cli.screen import print_document, print_line, print_table
from kd.errors import UsageError
from kd.governance.verdict import Verdict, Violation, document_of, is_lapsed
from kd.governance.waiver_acceptance import Judgement, waiver_problems
from kd.governance.waivers import Impact, ReasonCode, Waiver, WaiverLimit, make_waiver
from kd.run.waiving import limit_text, parse_end, parse_limit, time_text
from kd.views.waiver_table import WaiverRow, WaiverTable, apply_to_waiver_table, judged, left_text
from ledger.clock import SystemClock

__all__ = ["APP", "verdict", "waive", "waivers"]

APP = App(name="judge", help="Look at a run's verdict, and waive for a while what stands against it.")


@APP.command
def verdict(run: RunName, *, at: At = None, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Print a run's verdict. Exit code 0: it approves; 3: it rejects, or has lapsed with a waiver; 4: it needs waivers."""
    found, position = find_run_place(api.open(ledger, write=False), run, at=at)
    reached, now_ms = judged(found.view(at=position)), found.ledger.time_ms(at=position)
    if reached is None:
        raise UsageError(f"Run {found.id} has no verdict there: it is judged when its evaluation is done.", hint=f"See: kd show {found.id}")
    if json:
        print_document(document_of(reached) | {"is_lapsed": is_lapsed(reached, now_ms)})
    else:
        _print_verdict(reached, now_ms)
    if is_lapsed(reached, now_ms) or reached.status == "rejected":
        return REJECTED
    return NEEDS_WAIVER if reached.status == "waiver_required" else DONE


@APP.command
def waive(
    run: RunName,
    *,
    gate: Annotated[str, Parameter(help="The gate whose finding is accepted.")],
    limit: Annotated[
        str | None, Parameter(help="The worst value that is accepted, or 'inconclusive'; without it exactly what was observed.")
    ] = None,
    reason: Annotated[ReasonCode, Parameter(help="Which kind of reason it is.")],
    description: Annotated[str, Parameter(help="The reason in words.")],
    mitigation: Annotated[str, Parameter(help="What is done about the risk meanwhile; at least 50 characters.")],
    expires: Annotated[str, Parameter(help="When it ends: 3d, 72h, 2030-01-31 or 2030-01-31T12:00:00Z.")],
    requested_by: Annotated[str, Parameter(help="Who asks for it.")],
    approved_by: Annotated[str, Parameter(help="Who approves it; somebody else.")],
    risk_owner: Annotated[str | None, Parameter(help="Who answers for the risk; else whoever asks for the waiver.")] = None,
    title: Annotated[str | None, Parameter(help="A name for it; else that of the gate.")] = None,
    uses: Annotated[int, Parameter(help="How many verdicts it may help to approve.")] = 1,
    impact: Annotated[Impact, Parameter(help="How bad it would be if the risk came true.")] = "medium",
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Grant a waiver to a run whose verdict needs one; `kd resume` then lets the run be judged again."""
    found, _ = find_run_place(api.open(ledger), run)
    judgement, now_ms = found.judgement(), SystemClock().now_ms()
    problems: list[str] = []
    worst, end = _limit(limit, _violation(judgement, gate), problems), _end(expires, now_ms, problems)
    wanted = make_waiver(
        title=f"waiver of {gate}" if title is None else title,
        limits=(WaiverLimit(gate_id=gate, worst=worst),),
        reason_code=reason,
        description=description,
        mitigation=mitigation,
        risk_owner=requested_by if risk_owner is None else risk_owner,
        requested_by=requested_by,
        approved_by=approved_by,
        created_ms=now_ms,
        expires_ms=end,
        max_uses=uses,
        impact=impact,
    )
    if problems:
        more = () if judgement is None else waiver_problems(wanted, judgement, now_ms)
        raise UsageError(" ".join((*problems, *more)), hint="Nothing was recorded.")
    granted = found.grant(wanted)
    if json:
        print_document(asdict(granted))
    else:
        _tell(granted, found)
    return DONE


@APP.command
def waivers(run: RunName, *, at: At = None, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """List every waiver that was granted to a run: how it was answered, how often it was used, and how long it holds."""
    found, position = find_run_place(api.open(ledger, write=False), run, at=at)
    table, now_ms = WaiverTable(), found.ledger.time_ms(at=position)
    for record in found.records(at=position):
        table = apply_to_waiver_table(table, record, found.id)
    rows = table.rows(now_ms)
    if json:
        print_document([_document(row) for row in rows])
    elif rows:
        shown = ("id", "gates", "standing", "uses", "left", "ends", "reason_code", "requested_by", "approved_by", "answer")
        print_table([_shown(row, now_ms) for row in rows], shown)
    else:
        print_line(f"No waiver was granted to run {found.id}.")
    return DONE


def _violation(judgement: Judgement | None, gate: str) -> Violation | None:
    violations = () if judgement is None else judgement.verdict.violations
    return next((violation for violation in violations if violation.gate_id == gate), None)


def _limit(text: str | None, violation: Violation | None, problems: list[str]) -> float | None:
    if text is None:
        return None if violation is None else parse_limit(limit_text(violation))
    try:
        return parse_limit(text)
    except ValueError as error:
        problems.append(f"--limit: {error}")
        return None if violation is None else violation.observed  # so that the other mistakes are found as well


def _end(text: str, now_ms: int, problems: list[str]) -> int:
    try:
        return parse_end(text, now_ms)
    except ValueError as error:
        problems.append(f"--expires: {error}")
        return now_ms + 1


def _print_verdict(reached: Verdict, now_ms: int) -> None:
    print_line(f"Verdict {reached.id} for {reached.purpose} by {reached.gate_set}: {reached.status}{_until(reached, now_ms)}")
    used = {applied.gate_id: applied.id for applied in reached.waivers}
    rows = [{**asdict(each), "waiver": used.get(each.gate_id)} for each in reached.violations]
    if rows:
        print_line()
        print_table(rows, ("gate_id", "observed", "bar", "is_waivable", "waiver", "reason"))


def _until(reached: Verdict, now_ms: int) -> str:
    if reached.valid_until_ms is None:
        return ""
    when = time_text(reached.valid_until_ms)
    return f", LAPSED since {when}" if is_lapsed(reached, now_ms) else f", until {when}"


def _tell(granted: Waiver, run: api.Run) -> None:
    (limit,) = granted.limits
    accepted = "that it is inconclusive" if limit.worst is None else f"{limit.worst!r} or better"
    print_line(f"Waiver {granted.id} of gate {limit.gate_id} is granted until {time_text(granted.expires_ms)}; it accepts {accepted}.")
    print_line(f"Let the run be judged again: kd resume {run.id} --ledger {run.ledger.path}")


def _document(row: WaiverRow) -> dict[str, Any]:
    more = {"standing": row.standing, "uses": row.uses, "request": row.request, "answer": row.answer, "reason": row.reason}
    return asdict(row.waiver) | more


def _shown(row: WaiverRow, now_ms: int) -> dict[str, Any]:
    waiver = row.waiver
    gates = ", ".join(f"{limit.gate_id} {'inconclusive' if limit.worst is None else repr(limit.worst)}" for limit in waiver.limits)
    return {
        "id": waiver.id,
        "gates": gates,
        "standing": row.standing,
        "uses": f"{row.uses} of {waiver.max_uses}",
        "left": left_text(waiver.expires_ms - now_ms) if now_ms < waiver.expires_ms else None,
        "ends": time_text(waiver.expires_ms),
        "reason_code": waiver.reason_code,
        "requested_by": waiver.requested_by,
        "approved_by": waiver.approved_by,
        "answer": row.reason or ("accepted" if row.answer is not None else None),
    }
