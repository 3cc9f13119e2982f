"""A waiver from its grant to the verdict that rests on it, through the runner and every crash on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve as replace

from kd.audit import audit_run, check_chain
from kd.errors import UsageError
from kd.events import REGISTRY
from kd.governance.events import GovernanceCompleted, VerdictIssued, WaiverAccepted, WaiverApplied, WaiverRejected
from kd.governance.waivers import Waiver, WaiverBook, waive
from kd.run import states as s
from kd.run.redaction import redactor_of
from kd.run.waiving import grant_waiver, judgement_of, limit_text, parse_end, parse_limit, time_text
from ledger import create_ledger, open_ledger
from ledger.errors import CommandRejectedError
from ledger.head_examination import Trust
from ledger.record import Meta, Record
from ledger.segments import FileStore
from ledger.testing import FixedClock
from tests.governance.waiver_examples import DAY_MS, NOW_MS, waiver
from tests.run.waiting_run import RUN, resume_run, write_waiting_run

KL, SPEED = waiver("kl", 6.125), waiver("speed", None, expires_ms=NOW_MS + 3 * DAY_MS)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A ledger whose run waits for waivers of `kl` and `speed`."""
    return write_waiting_run(tmp_path / "ledger")


def grant(store: FileStore, *granted: Waiver, now_ms: int = NOW_MS) -> None:
    for each in granted:
        grant_waiver(store, RUN, each, actor="ana@host", now_ms=now_ms)


def of(store: FileStore, kind: type) -> list[Record]:
    return [record for record in store.scan(streams=f"run/{RUN}*") if isinstance(record.event, kind)]


def audit_codes(store: FileStore) -> list[str]:
    report = audit_run(store, RUN, check_chain(store.path, Trust()))
    return [finding.code for level in report.levels for finding in level.findings if level.level != "chain"]


def test_waivers_that_cover_all_let_the_run_succeed(store: FileStore) -> None:
    """Granted, accepted because of the request, applied in the batch of the verdict, and the run succeeds until the first one ends."""
    grant(store, KL, SPEED)
    state = resume_run(store)
    assert isinstance(state, s.Succeeded)
    assert state.verdict == "approved_with_waivers"
    requests = [record.position for record in store.scan(names="run.waiver_granted")]
    accepted = of(store, WaiverAccepted)
    assert [record.meta.cause for record in accepted] == requests == [record.event.request for record in accepted]  # type: ignore[attr-defined]
    verdict = of(store, VerdictIssued)[-1]
    uses = of(store, WaiverApplied)
    assert [record.position for record in uses] == [verdict.position - 2, verdict.position - 1]
    assert {record.position - record.batch_index for record in (*uses, verdict)} == {uses[0].position - 1}
    assert verdict.event.verdict.valid_until_ms == SPEED.expires_ms  # type: ignore[attr-defined]
    assert audit_codes(store) == []


def test_the_stored_verdict_says_what_it_rests_on(store: FileStore) -> None:
    """The artifact that the run hands over names waivers, moment and end; one without waivers has no such fields."""
    documents = []
    for _ in range(2):
        event = of(store, GovernanceCompleted)[-1].event
        with store.blobs.open(event.outputs[0].file("verdict.json"), verify=True) as stream:  # type: ignore[attr-defined]
            documents.append(json.loads(stream.read()))
        if len(documents) == 1:
            grant(store, KL, SPEED)
            resume_run(store)
    assert documents[1].keys() - documents[0].keys() == {"waivers", "decided_at_ms", "valid_until_ms"}
    assert [use["gate_id"] for use in documents[1]["waivers"]] == ["kl", "speed"]


def test_a_run_that_is_paused_while_it_is_judged_again_goes_on(store: FileStore) -> None:
    """An owner who is interrupted after the answers leaves a paused run, and the next one decides."""
    grant(store, KL, SPEED)
    assert isinstance(resume_run(store, is_interrupted=lambda: True), s.Paused)
    assert (len(of(store, WaiverAccepted)), len(of(store, VerdictIssued))) == (2, 1)
    assert isinstance(resume_run(store), s.Succeeded)
    assert audit_codes(store) == []


def test_one_waiver_of_two_leaves_the_run_rejected(store: FileStore) -> None:
    """Nothing is used up by a verdict that does not approve; the second waiver then completes the first."""
    grant(store, KL)
    state = resume_run(store)
    assert isinstance(state, s.Rejected)
    assert (state.verdict, of(store, WaiverApplied)) == ("waiver_required", [])
    with pytest.raises(CommandRejectedError, match="kd judge waive"):
        resume_run(store)
    grant(store, SPEED)
    assert isinstance(resume_run(store), s.Succeeded)
    assert [record.event.applied.use_number for record in of(store, WaiverApplied)] == [1, 1]  # type: ignore[attr-defined]
    assert audit_codes(store) == []


def test_a_waiver_that_ended_before_the_owner_came_is_rejected(store: FileStore) -> None:
    """The request is judged at the owner's time; the reason is recorded, because of the request, and the run is rejected again."""
    grant(store, KL, SPEED)
    assert isinstance(resume_run(store, now_ms=SPEED.expires_ms), s.Rejected)
    (rejected,) = of(store, WaiverRejected)
    assert rejected.meta.cause == rejected.event.request  # type: ignore[attr-defined]
    assert "ended 0 hours ago" in rejected.event.reason  # type: ignore[attr-defined]
    assert audit_codes(store) == []


def test_a_bad_waiver_is_refused_before_anything_is_recorded(store: FileStore) -> None:
    """All its mistakes are told at once, and the ledger is as it was."""
    end = store.end()
    with pytest.raises(UsageError) as caught:
        grant(store, waiver("finite", 6.125, approved_by="ana", mitigation=""))
    for words in ("let somebody else approve it", "0 characters", "Gate finite"):
        assert words in str(caught.value)
    assert store.end() == end


def test_waivers_that_wait_for_an_answer_count(store: FileStore) -> None:
    """Two open requests for a gate are as many as two accepted ones."""
    grant(store, waiver("kl", 7.0, title="one"), waiver("kl", 7.0, title="two"))
    with pytest.raises(UsageError, match="2 waivers of gate kl"):
        grant(store, KL)


@pytest.mark.parametrize("late_ms", [0, KL.expires_ms - NOW_MS])
def test_a_waiver_that_was_answered_is_not_granted_again(store: FileStore, late_ms: int) -> None:
    """Accepted or rejected, it has its answer: the same waiver again would wait for one for ever, so nothing is recorded."""
    grant(store, KL)
    assert isinstance(resume_run(store, now_ms=NOW_MS + late_ms), s.Rejected)
    end = store.end()
    with pytest.raises(UsageError, match=f"Waiver {KL.id} was answered already"):
        grant(store, KL)
    assert store.end() == end


def test_a_lapsed_approval_is_granted_anew(store: FileStore) -> None:
    """From the end of the first waiver on, and not before, another one may follow; the one that still holds is used once more."""
    long = waiver("speed", None, max_uses=3, expires_ms=NOW_MS + 30 * DAY_MS)
    end_ms = KL.expires_ms
    again = waiver("kl", 6.125, created_ms=end_ms, expires_ms=end_ms + DAY_MS)
    grant(store, KL, long)
    resume_run(store)
    with pytest.raises(CommandRejectedError, match="nothing to waive"):
        grant(store, waiver("kl", 6.125, created_ms=end_ms - 1, expires_ms=end_ms + DAY_MS), now_ms=end_ms - 1)
    with pytest.raises(CommandRejectedError, match="kd judge waive"):
        resume_run(store, now_ms=end_ms)
    grant(store, again, now_ms=end_ms)
    state = resume_run(store, now_ms=end_ms)
    assert isinstance(state, s.Succeeded)
    assert state.valid_until_ms == end_ms + DAY_MS
    uses = [(record.event.applied.id, record.event.applied.use_number) for record in of(store, WaiverApplied)]  # type: ignore[attr-defined]
    assert uses == [(KL.id, 1), (long.id, 1), (again.id, 1), (long.id, 2)]
    assert audit_codes(store) == []


@pytest.mark.parametrize("other", [{"expires_ms": KL.expires_ms + 1}, {"gate": "speed", "worst": None}])
def test_a_lapsed_approval_that_is_not_covered_again_approves_nothing(store: FileStore, other: dict[str, Any]) -> None:
    """Where the new waiver is rejected the approval stays lapsed; where it does not cover all, the run is rejected."""
    grant(store, KL, waiver("speed", None))
    resume_run(store)
    end_ms = KL.expires_ms
    again = waiver(**({"gate": "kl", "worst": 6.125, "created_ms": end_ms, "expires_ms": end_ms + DAY_MS} | other))
    grant(store, again, now_ms=end_ms)
    state = resume_run(store, now_ms=end_ms + 1)
    is_accepted = "gate" in other
    assert isinstance(state, s.Rejected if is_accepted else s.Succeeded)
    assert is_accepted or state.valid_until_ms == end_ms  # type: ignore[union-attr]
    assert (len(of(store, WaiverRejected)), len(of(store, WaiverApplied))) == (int(not is_accepted), 2)
    assert audit_codes(store) == []


def test_a_clock_set_back_gives_no_second_approval(store: FileStore) -> None:
    """An owner for whom the approval still holds rejects the waiver, and the audit agrees."""
    grant(store, KL, SPEED)
    resume_run(store)
    grant(store, waiver("speed", None, created_ms=SPEED.expires_ms, expires_ms=SPEED.expires_ms + 1), now_ms=SPEED.expires_ms)
    resume_run(store, now_ms=SPEED.expires_ms - 1)
    (rejected,) = of(store, WaiverRejected)
    assert "expected waiver_required" in rejected.event.reason  # type: ignore[attr-defined]
    assert audit_codes(store) == []


def test_secrets_are_taken_out_before_a_waiver_gets_its_id(tmp_path: Path) -> None:
    """What is recorded is named by what is recorded, so that the owner accepts it."""
    write_waiting_run(tmp_path / "ledger").close()
    redactor = redactor_of({"MY_TOKEN": "hunter2-hunter2"})
    with open_ledger(tmp_path / "ledger", registry=REGISTRY, redactor=redactor, clock=FixedClock(NOW_MS)) as store:
        made = waiver("kl", 6.125, description="the token hunter2-hunter2 had run out")
        stored = grant_waiver(store, RUN, made, actor="ana@host", now_ms=NOW_MS)
        assert (stored.id == made.id, "hunter2" in stored.description) == (False, False)
        resume_run(store)
        assert len(of(store, WaiverAccepted)) == 1


def test_a_crash_at_any_record_ends_in_the_same_verdict(store: FileStore, tmp_path: Path) -> None:
    """An owner that dies after any batch on the way leaves a run that the next one brings to the same end, with each use counted once."""
    grant(store, KL, SPEED)
    before = store.end().position
    resume_run(store)
    batches = [record.position for record in store.scan(start=before) if record.batch_index == 1 and record.stream[:4] == "run/"]
    for number, cut in enumerate(batches):
        copy = _copied(store, tmp_path / f"cut-{number}", stop=cut)
        state = resume_run(copy)
        assert isinstance(state, s.Succeeded), cut
        assert [len(of(copy, kind)) for kind in (WaiverAccepted, WaiverApplied)] == [2, 2]
        assert len({record.event.verdict.id for record in of(copy, VerdictIssued)}) == 2  # type: ignore[attr-defined]
        assert audit_codes(copy) == []
        copy.close()
    assert len(batches) == 7


def test_a_crash_while_a_lapsed_approval_is_renewed_ends_in_the_same_verdict(store: FileStore, tmp_path: Path) -> None:
    """As for the first approval, whichever record was the last one."""
    end_ms = SPEED.expires_ms
    grant(store, KL, SPEED)
    resume_run(store)
    grant(store, waiver("speed", None, created_ms=end_ms), waiver("kl", 6.125, created_ms=end_ms), now_ms=end_ms)
    before = store.end().position
    resume_run(store, now_ms=end_ms)
    batches = [record.position for record in store.scan(start=before) if record.batch_index == 1 and record.stream[:4] == "run/"]
    for number, cut in enumerate(batches):
        copy = _copied(store, tmp_path / f"cut-{number}", stop=cut)
        assert isinstance(resume_run(copy, now_ms=end_ms), s.Succeeded), cut
        assert len(of(copy, WaiverApplied)) == 4
        assert audit_codes(copy) == []
        copy.close()


def _copied(store: FileStore, path: Path, *, stop: int) -> FileStore:
    """A ledger with the run's records before position `stop`, and all blobs: what a killed owner leaves."""
    copy = create_ledger(path, origin="example.org/waiting", registry=REGISTRY, clock=FixedClock(NOW_MS))
    shutil.copytree(store.path / "blobs", path / "blobs", dirs_exist_ok=True)
    batch: list[Record] = []
    for record in store.scan(start=1, stop=stop):
        batch.append(record)
        if record.batch_index == record.batch_size:
            if record.stream.startswith(("run/", "own/")):
                meta = Meta(actor=record.meta.actor, cause=record.meta.cause)
                copy.append(record.stream, [each.event for each in batch], meta=meta)
            batch = []
    return copy


def test_the_audit_finds_answers_and_verdicts_that_do_not_follow(store: FileStore) -> None:
    """A waiver that nobody granted, one that should have been rejected, and a verdict beyond its waivers are all found."""
    governance = f"run/{RUN}/governance"
    grant(store, KL)
    (request,) = (record.position for record in store.scan(names="run.waiver_granted"))
    base = of(store, VerdictIssued)[0].event.verdict  # type: ignore[attr-defined]
    late = WaiverAccepted(waiver=KL, request=request, decided_at_ms=KL.expires_ms)
    store.append(governance, [late, WaiverAccepted(waiver=SPEED, request=request, decided_at_ms=NOW_MS)])
    longer = replace(SPEED, expires_ms=SPEED.expires_ms + 1)
    forged = waive(base, WaiverBook(accepted=(KL, longer)), NOW_MS)
    store.append(governance, [*(WaiverApplied(applied=use) for use in forged.waivers), VerdictIssued(verdict=forged)])
    assert audit_codes(store) == ["outputs_differ", "waiver_differs", "waiver_differs", "verdict_differs"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3d", NOW_MS + 3 * DAY_MS),
        ("72h", NOW_MS + 3 * DAY_MS),
        ("2030-01-31", 1_896_048_000_000),
        ("2030-01-31T12:00:00Z", 1_896_091_200_000),
        ("2030-01-31T12:00Z", 1_896_091_200_000),
    ],
)
def test_ends_are_spans_days_or_times_of_utc(text: str, expected: int) -> None:
    """A span counts from now; a day is its first moment in UTC."""
    assert parse_end(text, NOW_MS) == expected
    if text.endswith("Z"):
        assert parse_end(time_text(expected), NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "soon", "2030-01-31T12:00:00", "2030-01-31T12:00:00+01:00", "2030-13-01", "-3d", "3w"])
def test_an_end_without_a_zone_is_refused(text: str) -> None:
    """What could be another moment elsewhere is no end."""
    with pytest.raises(ValueError, match="expected 3d"):
        parse_end(text, NOW_MS)


def test_limits_are_read_as_they_are_offered(store: FileStore) -> None:
    """The offered limit is the observed value to the last digit, and covers it."""
    judgement = judgement_of(store, RUN)
    assert judgement is not None
    offered = {violation.gate_id: limit_text(violation) for violation in judgement.verdict.violations}
    assert offered == {"kl": "6.125", "speed": "inconclusive"}
    assert [parse_limit(text) for text in offered.values()] == [6.125, None]
    for text in ("much", "inf", "-Infinity", "nan", "1e999"):
        with pytest.raises(ValueError, match="expected a finite number"):
            parse_limit(text)
