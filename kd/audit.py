"""Checking a run from its records and blobs alone: nothing that was computed once is believed.

    chain      every line of the ledger proves its place, and the signed tree heads stand for these lines
    refold     every stage, folded from its first event, ends in what the run says it handed over
    blobs      every blob that the run's events name is there and has its digest
    recompute  measurements from items, gates from measurements, answers to waivers, verdicts from gates and waivers: equal to what was
               recorded

Needs neither torch nor a converter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import evolve as replace
from attrs import fields, frozen, has

from kd.artifacts import Artifact
from kd.evaluation.events import ItemEvaluated, MeasurementRecorded
from kd.evaluation.measures import measure
from kd.evidence import Measurement, evaluate_gate, measurements_from_json
from kd.governance.events import (
    EvidenceAdmitted,
    EvidenceRefused,
    GateEvaluated,
    GovernanceStarted,
    VerdictIssued,
    WaiverAccepted,
    WaiverApplied,
    WaiverRejected,
)
from kd.governance.machine import Job, verdict_from
from kd.governance.verdict import AppliedWaiver, Verdict, is_lapsed
from kd.governance.waiver_acceptance import acceptance_problems
from kd.governance.waivers import Waiver, WaiverBook, waive
from kd.run import states
from kd.run.events import WaiverGranted
from kd.run.stages import STAGES
from kd.stage import Completed
from kd.views.run_view import RunView, view_runs
from ledger.errors import BlobDamagedError, BlobMissingError
from ledger.findings import Finding as LedgerFinding
from ledger.fsck import check_ledger
from ledger.head_examination import Trust
from ledger.record import BlobRef, Record
from ledger.segments import FileStore

__all__ = ["AuditReport", "Finding", "Level", "LevelResult", "audit_run", "check_chain"]

Level = Literal["chain", "refold", "blobs", "recompute"]


@frozen(kw_only=True)
class Finding:
    """One thing that is not as it was recorded."""

    code: str
    message: str
    position: int | None = None


@frozen(kw_only=True)
class LevelResult:
    """One level of the audit: how many things were checked, and what was wrong."""

    level: Level
    num_checked: int
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()
    """What is no damage and worth knowing, such as the torn last line of a killed writer."""

    @property
    def is_ok(self) -> bool:
        return not self.findings

    @property
    def is_readable(self) -> bool:
        """Whether the lines at least are whole, so that it is worth folding them; blobs may still be missing."""
        return all(finding.code.startswith("blob_") for finding in self.findings)


@frozen(kw_only=True)
class AuditReport:
    """The audit of one run."""

    run: str
    levels: tuple[LevelResult, ...]
    """The chain alone if it is broken: nothing that stands in a damaged ledger is worth folding."""
    state: str | None
    verdict: str | None

    @property
    def is_ok(self) -> bool:
        return all(level.is_ok for level in self.levels)


def check_chain(path: Path, trust: Trust) -> LevelResult:
    """Every line, segment digest and signed head of the ledger at `path`, and the presence of every blob that a line names."""
    report = check_ledger(path, depth="full", trust=trust)
    found = {
        severity: tuple(
            Finding(code=finding.code, message=_placed(finding), position=finding.position)
            for finding in report.findings
            if finding.severity == severity
        )
        for severity in ("error", "warning")
    }
    return LevelResult(level="chain", num_checked=report.size, findings=found["error"], notes=found["warning"])


def audit_run(store: FileStore, run: str, chain: LevelResult) -> AuditReport:
    """The audit of `run` in a ledger whose `chain` was checked: refold, blobs, recompute."""
    records = [record for record in store.scan(streams=f"run/{run}*") if record.stream.split("/")[1] == run]
    view = view_runs(records)[run]
    levels = (chain, _check_refold(view), _check_blobs(store, records), _check_recompute(store, records))
    verdict = next((result.verdict for result in _results(view) if result.verdict is not None), None)
    return AuditReport(run=run, levels=levels, state=states.status_of(view.run), verdict=verdict)


def _placed(finding: LedgerFinding) -> str:
    return finding.message if finding.segment is None else f"{finding.segment}: {finding.message}"


def _check_refold(view: RunView) -> LevelResult:
    findings = []
    for result in _results(view):
        stage = next(stage for stage in STAGES if stage.name == result.stage)
        outcome = stage.outcome(view.stages.get(stage.name, stage.decider.initial))
        if outcome != Completed(outputs=result.outputs):
            message = f"Stage {stage.name} folds to {type(outcome).__name__}, and the run says it completed with other outputs."
            findings.append(Finding(code="outputs_differ", message=message))
    return LevelResult(level="refold", num_checked=view.num_records, findings=tuple(findings))


def _check_blobs(store: FileStore, records: Sequence[Record]) -> LevelResult:
    first_named: dict[BlobRef, int] = {}
    for record in records:
        for blob in _blobs(record.event):
            first_named.setdefault(blob, record.position)
    findings = []
    for blob, position in first_named.items():
        try:
            store.blobs.open(blob, verify=True).close()
        except (BlobMissingError, BlobDamagedError) as error:
            code = "blob_missing" if isinstance(error, BlobMissingError) else "blob_damaged"
            findings.append(Finding(code=code, message=str(error), position=position))
    return LevelResult(level="blobs", num_checked=len(first_named), findings=tuple(findings))


def _check_recompute(store: FileStore, records: Sequence[Record]) -> LevelResult:
    events = [record.event for record in records]
    items = [event for event in events if isinstance(event, ItemEvaluated)]
    recorded = tuple(event.measurement for event in events if isinstance(event, MeasurementRecorded))
    findings = []
    if recorded and measure(items) != recorded:
        findings.append(Finding(code="measurements_differ", message="The recorded measurements do not follow from the recorded items."))
    findings += _check_judgement(store, records)
    num_judged = sum(isinstance(event, GateEvaluated | VerdictIssued | WaiverAccepted | WaiverRejected) for event in events)
    return LevelResult(level="recompute", num_checked=len(recorded) + num_judged, findings=tuple(findings))


def _check_judgement(store: FileStore, records: Sequence[Record]) -> Iterator[Finding]:
    """Gates from the stored measurements, and the verdicts from the gates and the waivers that hold."""
    events = [record.event for record in records]
    started = next((event for event in events if isinstance(event, GovernanceStarted)), None)
    if started is None:
        return
    admitted = tuple(event.evidence for event in events if isinstance(event, EvidenceAdmitted))
    refused = tuple(event.refusal for event in events if isinstance(event, EvidenceRefused))
    results = tuple(event.result for event in events if isinstance(event, GateEvaluated))
    try:
        evidence = _evidence(store, started.inputs, {item.digest for item in admitted})
    except (BlobMissingError, BlobDamagedError) as error:
        yield Finding(code="evidence_unreadable", message=str(error))
        return
    for result in results:
        if evaluate_gate(result.gate, evidence) != result:
            yield Finding(code="gate_differs", message=f"Gate {result.gate.id} does not follow from the stored measurements.")
    try:
        base = verdict_from(Job(config=started.config, inputs=started.inputs, seed=started.seed), admitted, refused, results)
    except ValueError as error:
        if any(isinstance(event, VerdictIssued) for event in events):
            yield Finding(code="verdict_differs", message=str(error))
        return
    yield from _check_verdicts(base, WaiverBook(policy=started.config.waivers), records)


def _check_verdicts(base: Verdict, book: WaiverBook, records: Sequence[Record]) -> Iterator[Finding]:
    """Every answer to a waiver and every verdict, in order, from `base`, which is the verdict without waivers."""
    granted = {record.position: record.event.waiver for record in records if isinstance(record.event, WaiverGranted)}
    applied: tuple[AppliedWaiver, ...] = ()
    stands = base
    for record in records:
        match record.event:
            case WaiverAccepted(waiver=waiver) | WaiverRejected(id=waiver) as event:
                message = _answer_problem(
                    event, granted.get(event.request), base if is_lapsed(stands, event.decided_at_ms) else stands, book
                )
                if message is not None:
                    yield Finding(code="waiver_differs", message=message, position=record.position)
                if isinstance(waiver, Waiver):
                    book, stands = replace(book, accepted=(*book.accepted, waiver)), base
            case WaiverApplied(applied=use):
                applied = (*applied, use)
            case VerdictIssued(verdict=verdict):
                expected = base if verdict.decided_at_ms is None else waive(base, book, verdict.decided_at_ms)
                if verdict != expected or verdict.waivers != applied:
                    message = f"Verdict {verdict.id} does not follow from the gates and the waivers that held."
                    yield Finding(code="verdict_differs", message=message, position=record.position)
                book, applied, stands = replace(book, used=(*book.used, *applied)), (), verdict
            case _:
                pass


def _answer_problem(event: WaiverAccepted | WaiverRejected, waiver: Waiver | None, base: Verdict, book: WaiverBook) -> str | None:
    id_ = event.waiver.id if isinstance(event, WaiverAccepted) else event.id
    if waiver is None or waiver.id != id_ or (isinstance(event, WaiverAccepted) and waiver != event.waiver):
        return f"Waiver {id_} was answered, and the record {event.request} does not grant it."
    expected = " ".join(acceptance_problems(waiver, base, book, event.decided_at_ms))
    if expected == (event.reason if isinstance(event, WaiverRejected) else ""):
        return None
    return f"The answer to waiver {id_} does not follow from the rules: {expected or 'it can be accepted.'}"


def _evidence(store: FileStore, inputs: Sequence[Artifact], digests: set[str]) -> list[Measurement]:
    found: list[Measurement] = []
    for artifact in inputs:
        if artifact.digest in digests:
            with store.blobs.open(artifact.file("measurements.json"), verify=True) as stream:
                found += measurements_from_json(stream.read())
    return found


def _results(view: RunView) -> tuple[states.StageResult, ...]:
    return view.run.plan.results if isinstance(view.run, states.Known) else ()


def _blobs(value: Any) -> Iterator[BlobRef]:
    if isinstance(value, BlobRef):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _blobs(item)
    elif has(type(value)):
        for field in fields(type(value)):
            yield from _blobs(getattr(value, field.name))
