"""The gates of the open run, the verdict, and the records that both rest on, each one key away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from textual import work
from textual.app import ComposeResult

from kd.governance.verdict import is_lapsed
from kd.views.gate_table import GateRow, VerdictRow
from kd.views.gate_table import GateTable as Judgement
from kd.views.safe_text import safe_text
from kd.views.waiver_table import WaiverRow, WaiverTable, left_text
from ledger.errors import LedgerError
from ledger.proofs import prove
from tui.feed.frame import Frame
from tui.messages import RecordChosen
from tui.screens.kd_screen import KdScreen
from tui.themes import UNICODE, Glyphs, glyphs_of
from tui.widgets.fact_lines import FactLines
from tui.widgets.figures import short
from tui.widgets.gate_table import GateTable, gate_status
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows

__all__ = ["GovernanceScreen"]

_EVIDENCE = (
    Column("record", 9, is_right=True),
    Column("says", 30, grows=True),
    Column("value", 9, is_right=True),
    Column("95 % interval", 18, rank=2),
    Column("n", 6, is_right=True, rank=1),
    Column("measured on", 16, rank=3),
)
_LOOKS = {
    "approved": ("done", "good"),
    "approved_with_waivers": ("done", "good"),
    "waiver_required": ("unknown", "warn"),
    "rejected": ("failed", "bad"),
}
_OVER = ("expired", "exhausted", "rejected")
"""Standings of waivers that count no more; they are listed on request."""


@frozen(kw_only=True)
class _Evidence:
    """A record that a gate or the verdict rests on."""

    position: int | None
    says: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    subject: str = ""


class GovernanceScreen(KdScreen):
    """Gates above, what the chosen one rests on beneath."""

    number = 7
    title_word = "governance"
    footer = ("open", "next_pane", "next_item", "waive", "expired", "prove_verdict", "origin", "copy_link", "live")
    DEFAULT_CSS: ClassVar[str] = """
    GovernanceScreen #gates { height: 1fr; }
    GovernanceScreen #evidence { min-height: 4; }
    """

    def compose_body(self) -> ComposeResult:
        yield FactLines(id="verdict")
        yield GateTable(id="gates")
        yield FactLines(id="reason", classes="-title")
        yield RowList(id="evidence")

    def on_mount(self) -> None:
        self._gates: tuple[GateRow, ...] = ()
        self._evidence: tuple[_Evidence, ...] = ()
        self._judgement: Judgement | None = None
        self._shows_expired = False
        self.query_one("#gates", GateTable).focus()
        super().on_mount()

    def show(self, frame: Frame) -> None:
        judgement: Judgement | None = frame.governance
        self._judgement = judgement
        self._gates = () if judgement is None else judgement.rows()
        glyphs = glyphs_of(self.app)
        waivers = WaiverTable() if judgement is None else judgement.waivers
        self.query_one("#verdict", FactLines).lines = tuple(_summary(judgement, frame.now_ms, glyphs))
        self.query_one("#gates", GateTable).show_gates(self._gates, waivers, frame.now_ms, glyphs, empty=_empty(frame))
        self._show_evidence()

    def header_facts(self, frame: Frame) -> str:
        judgement: Judgement | None = frame.governance
        if judgement is None or judgement.verdict is None:
            return ""
        verdict = judgement.verdict.verdict
        return verdict.status.replace("_", " ") + _left(verdict.valid_until_ms, frame.now_ms)

    def link_position(self) -> int | None:
        if self.query_one("#evidence", RowList).lines.has_focus:
            return self._chosen_evidence()
        gate = self._chosen_gate()
        return None if gate is None else gate.position

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        if message.list.id == "gates":
            self._show_evidence()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        if message.list.id == "gates":
            self.query_one("#evidence", RowList).focus()
            return
        position = self._chosen_evidence()
        if position is None:
            self.notify("No record of this run says it: it was measured elsewhere.", severity="warning", markup=False)
        else:
            self.post_message(RecordChosen(position))

    def do_prove_verdict(self) -> None:
        """Write a proof that the verdict's record is under the signed head."""
        row, frame = None if self._judgement is None else self._judgement.verdict, self.feed.frame
        if row is None:
            self.notify("There is no verdict to prove yet.", severity="warning", markup=False)
        elif not self.feed.may_save:
            self.notify("Nothing is saved from a browser: prove it with kd prove.", severity="warning", markup=False)
        elif row.position >= frame.head_size:
            said = "No signed head is over the verdict: sign one with kd ledger head --sign, then prove it."
            self.notify(said, severity="warning", markup=False)
        else:
            self._write_proof(row.position)

    @work(thread=True, exit_on_error=False)
    def _write_proof(self, position: int) -> None:
        store, out = self.feed.store, Path(f"verdict-{position}.tlog-proof")
        if store is None:
            return
        try:
            out.write_text(prove(store, position), encoding="utf-8")
        except (LedgerError, ValueError, OSError) as error:
            self.app.call_from_thread(partial(self.notify, str(error), severity="error", markup=False))
        else:
            self.app.call_from_thread(partial(self.notify, f"The proof of the verdict, @{position:,}, is in {out}.", markup=False))

    def do_origin(self) -> bool:
        position = self.link_position()
        if position is None:
            return False
        self.post_message(RecordChosen(position))
        return True

    def do_expired(self) -> None:
        """List waivers that expired, were used up or rejected, or leave them out again."""
        rows = () if self._judgement is None else self._judgement.waivers.rows(self.feed.frame.now_ms)
        if not any(row.standing in _OVER for row in rows):
            self.notify("No waiver of this run has expired, was used up or rejected.", markup=False)
            return
        self._shows_expired = not self._shows_expired
        self.redraw()

    def _show_evidence(self) -> None:
        gate, glyphs = self._chosen_gate(), glyphs_of(self.app)
        self._evidence = tuple(_evidence(gate, self._judgement, self.feed.frame.now_ms, with_expired=self._shows_expired))
        found = self._evidence
        self.query_one("#evidence", RowList).styles.height = min(max(len(found), 1) + 1, self.size.height // 3 + 1)
        self.query_one("#reason", FactLines).lines = (_reason(gate, self._judgement, glyphs),)
        self.query_one("#evidence", RowList).rows = Rows(
            columns=_EVIDENCE,
            num_rows=len(found),
            cells=lambda index: _evidence_cells(found[index], glyphs),
            key=lambda index: found[index].says,
            empty="nothing: the gate waits for the evidence it names" if gate else "no gate is chosen",
        )

    def _chosen_gate(self) -> GateRow | None:
        index = self.query_one("#gates", GateTable).chosen
        return self._gates[index] if index is not None and index < len(self._gates) else None

    def _chosen_evidence(self) -> int | None:
        index = self.query_one("#evidence", RowList).chosen
        return self._evidence[index].position if index is not None and index < len(self._evidence) else None


def _left(valid_until_ms: int | None, now_ms: int) -> str:
    """`, 11d left` or `, LAPSED` for an approval with an end."""
    if valid_until_ms is None:
        return ""
    return f", {left_text(valid_until_ms - now_ms)} left" if now_ms < valid_until_ms else ", LAPSED"


def _summary(judgement: Judgement | None, now_ms: int, glyphs: Glyphs) -> Iterator[Pieces]:
    if judgement is None or not judgement.planned:
        yield ((f"{glyphs.waiting} no verdict yet", "bold muted"), ("   the run is judged when its evaluation is done", "muted"))
        return
    yield _verdict(judgement.verdict, judgement, now_ms, glyphs)
    counts = judgement.counts()
    yield (
        ("gates ", "muted"),
        (f"{counts['pass']} {glyphs.done} pass", "good"),
        (f"  {counts['fail']} {glyphs.failed} fail", "text" if counts["fail"] else "muted"),
        (f"  {counts['inconclusive']} {glyphs.unknown} inconclusive", "text" if counts["inconclusive"] else "muted"),
        (f"  {counts['waiting']} {glyphs.waiting} waiting" if counts["waiting"] else "", "text"),
        ("    evidence ", "muted"),
        (f"{len(judgement.admitted)} admitted", "text"),
        (f"  {len(judgement.refused)} refused", "bad" if judgement.refused else "muted"),
        *_waiver_counts(judgement.waivers.rows(now_ms)),
    )
    if judgement.verdict is not None and judgement.verdict.verdict.violations:
        yield from _violations(judgement.verdict, glyphs)


def _waiver_counts(rows: Sequence[WaiverRow]) -> Pieces:
    if not rows:
        return ()
    counts = {standing: sum(row.standing == standing for row in rows) for standing in dict.fromkeys(row.standing for row in rows)}
    return (("    waivers ", "muted"), (", ".join(f"{count} {standing}" for standing, count in counts.items()), "text"))


def _verdict(row: VerdictRow | None, judgement: Judgement, now_ms: int, glyphs: Glyphs) -> Pieces:
    if row is None:
        return ((f"{glyphs.running} being judged", "bold accent"), (f"   for purpose {judgement.purpose}", "muted"))
    verdict = row.verdict
    glyph, tone = ("failed", "bad") if is_lapsed(verdict, now_ms) else _LOOKS[verdict.status]
    word = verdict.status.replace("_", " ").upper() + _left(verdict.valid_until_ms, now_ms)
    return (
        (f"{getattr(glyphs, glyph)} {word}", f"bold {tone}"),
        (f"   for {verdict.purpose} by {safe_text(verdict.gate_set)}", "text"),
        (f"   {safe_text(verdict.id)}", "muted"),
        (f"   @{row.position:,}", "accent"),
    )


def _violations(row: VerdictRow, glyphs: Glyphs) -> Iterator[Pieces]:
    used = {applied.gate_id: applied.id for applied in row.verdict.waivers}
    for violation in row.verdict.violations[:3]:
        waiver = "may be waived" if violation.is_waivable else "may not be waived"
        if violation.gate_id in used:
            waiver = f"waived by {safe_text(used[violation.gate_id])}"
        yield (
            (f"{glyphs.failed} {safe_text(violation.gate_id)}", "bad" if violation.gate_id not in used else "warn"),
            (f"  {safe_text(violation.reason)}", "text"),
            (f"  {waiver}", "warn" if violation.is_waivable else "bad"),
        )
    more = len(row.verdict.violations) - 3
    if more > 0:
        yield ((f"  and {more} more against approval", "muted"),)


def _reason(gate: GateRow | None, judgement: Judgement | None, glyphs: Glyphs) -> Pieces:
    if gate is None:
        return (("what the verdict rests on", "bold text"),)
    status, tone = gate_status(gate.status, gate.gate.level, glyphs)
    violated = {} if judgement is None or judgement.verdict is None else {v.gate_id: v for v in judgement.verdict.verdict.violations}
    used = {} if judgement is None or judgement.verdict is None else {w.gate_id: w.id for w in judgement.verdict.verdict.waivers}
    waiver = "" if gate.gate.id not in violated else "  may be waived" if violated[gate.gate.id].is_waivable else "  may not be waived"
    if gate.gate.id in used:
        waiver = f"  waived by {safe_text(used[gate.gate.id])}"
    return ((safe_text(gate.gate.id), "bold text"), (f"  {status}", tone), (f"  {safe_text(gate.reason)}", "text"), (waiver, "warn"))


def _evidence(gate: GateRow | None, judgement: Judgement | None, now_ms: int, *, with_expired: bool) -> Iterator[_Evidence]:
    """The gate's record and its measurements, then the verdict's, the waivers', and the evidence it admitted."""
    if gate is not None and gate.position is not None:
        yield _Evidence(position=gate.position, says=f"gate {gate.gate.id}: {gate.status}, {gate.rule}", value=gate.value)
        for used in gate.evidence:
            found = used.measurement
            yield _Evidence(
                position=used.position,
                says=f"{found.metric} on {found.suite}/{found.slice}" + (f": {found.reason}" if found.value is None else ""),
                value=found.value,
                interval=None if found.low is None or found.high is None else (found.low, found.high),
                n=found.n,
                subject=found.subject,
            )
    if judgement is None:
        return
    if judgement.verdict is not None:
        yield _Evidence(position=judgement.verdict.position, says=f"verdict {judgement.verdict.verdict.status}")
    for row in judgement.waivers.rows(now_ms):
        if with_expired or row.standing not in _OVER:
            yield _Evidence(position=row.request if row.answer is None else row.answer, says=_says(row, now_ms))
    for position, admitted in judgement.admitted:
        says = f"admitted {admitted.kind}, {admitted.num_measurements} measurements"
        yield _Evidence(position=position, says=says, subject=admitted.digest)
    for position, refused in judgement.refused:
        yield _Evidence(position=position, says=f"refused {refused.kind}: {refused.reason}", subject=refused.digest)


def _says(row: WaiverRow, now_ms: int) -> str:
    waiver = row.waiver
    limits = ", ".join(f"{limit.gate_id} {'inconclusive' if limit.worst is None else short(limit.worst)}" for limit in waiver.limits)
    left = "" if now_ms >= waiver.expires_ms else f", {left_text(waiver.expires_ms - now_ms)} left"
    who = f"asked {waiver.requested_by}, approved {waiver.approved_by}"
    why = row.reason or f"{waiver.reason_code}: {waiver.description}"
    return f"waiver {waiver.id[-4:]} of {limits}: {row.standing}{left}, {who}, used {row.uses} of {waiver.max_uses}, {why}"


def _evidence_cells(row: _Evidence, glyphs: Glyphs) -> Sequence[Pieces]:
    interval = "" if row.interval is None else f"{short(row.interval[0])} to {short(row.interval[1])}"
    return (
        ((glyphs.dash if row.position is None else f"@{row.position:,}", "muted" if row.position is None else "accent"),),
        ((safe_text(row.says), "text"),),
        ((short(row.value) if row.value is not None else "", "bold text"),),
        ((interval, "muted"),),
        (("" if row.n is None else f"{row.n:,}", "muted"),),
        ((f"{row.subject[:12]}{glyphs.ellipsis}" if row.subject else "", "muted"),),
    )


def _empty(frame: Frame) -> str:
    if frame.run is None:
        return "no run is open: choose one on screen 1"
    if frame.governance is None or frame.is_catching_up:
        return f"reading the run{UNICODE.ellipsis}"
    return "no gate was planned yet: governance begins when evaluation is done"
