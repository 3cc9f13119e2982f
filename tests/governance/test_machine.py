"""The governance machine: given, when, then."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.evidence import GateSet
from kd.governance.commands import (
    AdmitEvidence,
    CompleteGovernance,
    FailGovernance,
    IssueVerdict,
    RecordGates,
    RefuseEvidence,
    RetryGovernance,
    StartGovernance,
)
from kd.governance.config import GovernanceConfig
from kd.governance.events import ENTRIES, EvidenceRefused, GovernanceCompleted, GovernanceFailed, GovernanceRetried, GovernanceStarted
from kd.governance.machine import DECIDER, STAGE, verdict_of
from kd.governance.states import Decide, Deliberating, EvaluateGates, Publish, ReadEvidence, Trying
from kd.governance.verdict import Refusal
from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Progress
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.registry import Registry
from ledger.testing import decide_given
from tests.governance.examples import (
    ADMITTED,
    CONFIG,
    EVALUATED,
    EVIDENCE,
    GATES,
    INPUTS,
    ISSUED,
    MEASUREMENTS,
    RESULTS,
    STARTED,
    STUDENT,
    VERDICT,
    artifact,
)

DONE = (STARTED, ADMITTED, *EVALUATED, ISSUED, GovernanceCompleted(outputs=(STUDENT,)))


def test_a_start_stores_all_that_the_stage_needs() -> None:
    """The first event holds configuration, inputs and seed, so the stream alone is enough to go on."""
    assert decide_given(DECIDER, (), StartGovernance(config=CONFIG, inputs=INPUTS, seed=7)) == (STARTED,)


def test_work_follows_the_states_in_order() -> None:
    """Read the evidence, evaluate the gates, decide, publish, and then nothing is pending."""
    kinds = [type(DECIDER.pending(fold(DECIDER, DONE[:place]))) for place in (1, 2, 4, 5, 6)]
    assert kinds == [ReadEvidence, EvaluateGates, Decide, Publish, type(None)]


def test_only_measurements_are_evidence() -> None:
    """Evidence is what earlier stages measured; models and data are the candidate."""
    work = DECIDER.pending(fold(DECIDER, (STARTED,)))
    assert isinstance(work, ReadEvidence)
    assert work.artifact == EVIDENCE
    assert [subject.digest for subject in VERDICT.candidate] == [STUDENT.digest]


def test_a_run_without_evidence_is_tried_all_the_same() -> None:
    """Where no stage measured anything the gates are due at once, and will all be inconclusive."""
    assert isinstance(fold(DECIDER, (replace(STARTED, inputs=(STUDENT,)),)), Trying)


def test_a_run_without_gates_is_judged_all_the_same() -> None:
    """With an empty gate table the verdict is due at once; it can only reject."""
    state = fold(DECIDER, (GovernanceStarted(config=GovernanceConfig(gates=GateSet(name="none", gates=())), inputs=(STUDENT,), seed=7),))
    assert isinstance(state, Deliberating)


def test_refused_evidence_bears_no_gate() -> None:
    """What was refused is not among the artifacts that gates are held against."""
    refusal = Refusal(kind=EVIDENCE.kind, digest=EVIDENCE.digest, reason="empty")
    assert decide_given(DECIDER, (STARTED,), RefuseEvidence(refusal=refusal)) == (EvidenceRefused(refusal=refusal),)
    work = DECIDER.pending(fold(DECIDER, (STARTED, EvidenceRefused(refusal=refusal))))
    assert isinstance(work, EvaluateGates)
    assert work.artifacts == ()


def test_evidence_is_read_once_and_must_be_an_input() -> None:
    """Evidence from elsewhere, under another kind, or read before is refused."""
    second = artifact("measurements.export", "d", "measurements.json")
    started = replace(STARTED, inputs=(*INPUTS, second))
    for evidence in (replace(ADMITTED.evidence, digest="f" * 64), replace(ADMITTED.evidence, kind="measurements.export")):
        with pytest.raises(CommandRejectedError, match="not among the inputs"):
            decide_given(DECIDER, (started,), AdmitEvidence(evidence=evidence))
    with pytest.raises(CommandRejectedError, match="already read"):
        decide_given(DECIDER, (started, ADMITTED), AdmitEvidence(evidence=ADMITTED.evidence))


def test_gates_must_be_those_of_the_set() -> None:
    """A gate left out, doubled or from another set is refused."""
    given = (STARTED, ADMITTED)
    assert decide_given(DECIDER, given, RecordGates(results=RESULTS)) == EVALUATED
    other = replace(RESULTS[0], gate=replace(RESULTS[0].gate, theta=99.0))
    for results in ((), RESULTS[:1], RESULTS[::-1], (*RESULTS, RESULTS[0]), (other, RESULTS[1])):
        with pytest.raises(CommandRejectedError, match="each once and in order"):
            decide_given(DECIDER, given, RecordGates(results=results))


def test_a_gate_must_follow_from_its_evidence() -> None:
    """A result that says pass where its own evidence says otherwise is refused."""
    forged = replace(RESULTS[0], evidence=(replace(MEASUREMENTS[0], value=9.0),))
    lenient = replace(RESULTS[1], status="pass")
    for results in ((forged, RESULTS[1]), (RESULTS[0], lenient)):
        with pytest.raises(CommandRejectedError, match="does not follow from the evidence"):
            decide_given(DECIDER, (STARTED, ADMITTED), RecordGates(results=results))


def test_a_verdict_must_follow_from_the_gates() -> None:
    """A verdict that anyone else would not derive is refused."""
    given = (STARTED, ADMITTED, *EVALUATED)
    assert decide_given(DECIDER, given, IssueVerdict(verdict=VERDICT)) == (ISSUED,)
    for verdict in (replace(VERDICT, status="rejected"), replace(VERDICT, evidence=()), replace(VERDICT, id="CAWS-VERDICT-" + "A" * 16)):
        with pytest.raises(CommandRejectedError, match="does not follow"):
            decide_given(DECIDER, given, IssueVerdict(verdict=verdict))


@pytest.mark.parametrize("num_events", [1, 2, 3])
def test_no_verdict_before_its_time(num_events: int) -> None:
    """A verdict is refused while evidence is unread or a gate is not evaluated."""
    with pytest.raises(CommandRejectedError, match="not possible"):
        decide_given(DECIDER, DONE[:num_events], IssueVerdict(verdict=VERDICT))


def test_the_verdict_is_known_once_it_is_issued() -> None:
    """`verdict_of` gives nothing before the verdict, and the verdict from then on."""
    assert [verdict_of(fold(DECIDER, DONE[:place])) for place in (0, 1, 4, 5, 6)] == [None, None, None, VERDICT, VERDICT]


@pytest.mark.parametrize("num_events", [1, 2, 4, 5])
def test_every_working_state_can_fail_and_be_retried(num_events: int) -> None:
    """A failure keeps the state it stopped, and a retry goes on there; a failure that is not retryable stays."""
    given = DONE[:num_events]
    failed = decide_given(DECIDER, given, FailGovernance(step="read", reason="disk full", is_retryable=True))
    state = fold(DECIDER, (*given, *failed))
    assert STAGE.outcome(state) == StageFailed(step="read", reason="disk full", is_retryable=True)
    assert decide_given(DECIDER, (*given, *failed), RetryGovernance()) == (GovernanceRetried(),)
    assert DECIDER.evolve(state, GovernanceRetried()) == fold(DECIDER, given)
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, (*given, GovernanceFailed(step="read", reason="broken", is_retryable=False)), RetryGovernance())


def test_a_completed_stage_hands_over_and_takes_no_command() -> None:
    """After the end the outputs are the outcome, and a second verdict is refused."""
    state = fold(DECIDER, DONE)
    assert STAGE.outcome(state) == StageCompleted(outputs=(STUDENT,))
    for command in (CompleteGovernance(outputs=()), IssueVerdict(verdict=VERDICT), StartGovernance(config=CONFIG, inputs=INPUTS, seed=7)):
        with pytest.raises(CommandRejectedError):
            DECIDER.decide(command, state)


def test_progress_counts_gates() -> None:
    """While gates are evaluated the stage says how many of how many are done."""
    assert STAGE.progress(fold(DECIDER, (STARTED, ADMITTED, EVALUATED[0]))) == Progress(done=1, total=2, unit="gates")
    assert STAGE.progress(fold(DECIDER, (STARTED,))) is None


def test_the_events_can_be_registered() -> None:
    """Every event of the stage can be stored and read back."""
    assert len(Registry(ENTRIES).entries) == 11


def test_a_purpose_needs_gates_made_for_it() -> None:
    """Gates made for an experiment cannot approve a release: the configuration is refused before anything runs."""
    with pytest.raises(ValueError, match="choose a gate set"):
        GovernanceConfig(gates=GATES, purpose="release")
    assert GovernanceConfig(gates=replace(GATES, purpose="release"), purpose="internal").purpose == "internal"
