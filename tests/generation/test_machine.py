"""The generation machine: what it asks for, what it refuses, and that a crash costs no recorded reply."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve as replace
from hypothesis import given
from hypothesis import strategies as st

from kd.generation import states
from kd.generation.commands import (
    Command,
    EndAttempt,
    FailGeneration,
    RecordLogits,
    RecordProbe,
    RecordSamples,
    RecordTeacher,
    RetryGeneration,
    ReuseReply,
    SealDataset,
    SealPlan,
    StartAttempt,
    StartGeneration,
)
from kd.generation.config import GenerationConfig
from kd.generation.events import (
    ENTRIES,
    DatasetSealed,
    GenerationCompleted,
    PlanSealed,
    ReplyReused,
    RequestRejected,
    RequestsPlanned,
    TeacherBound,
    TeacherProbed,
)
from kd.generation.machine import KEYS_PER_EVENT, KEYS_PER_WORK, SAMPLES_PER_RANGE, STAGE, decide, evolve, pending
from kd.stage import Completed, Failed, Progress
from ledger.errors import CommandRejectedError
from ledger.record import BlobRef
from ledger.registry import Registry
from tests.generation.facts import artifact, blob, captured, ended, plan_sealed, samples_built

START = StartGeneration(config=GenerationConfig(), inputs=(), seed=1)
BOUND = RecordTeacher(fact=TeacherBound(teacher=artifact("teacher"), fingerprint="f", seconds=1.0))
PROBED = RecordProbe(
    fact=TeacherProbed(served_model="m", logprobs="full", has_prompt_scoring=True, grammar="lark", max_context_tokens=None, seconds=0.1)
)
SEALED = DatasetSealed(dataset=artifact("dataset"), signal=artifact("signal"), manifest_digest="d", counts={})


def _after(*commands: Command, state: Any = STAGE.decider.initial) -> Any:
    for command in commands:
        for event in decide(command, state):
            state = evolve(state, event)
    return state


def _asking(*keys: str) -> Any:
    return _after(START, BOUND, PROBED, SealPlan(keys=keys, fact=plan_sealed(len(keys))))


def test_the_registry_takes_all_events() -> None:
    """Every event has its written-out name and can be read back."""
    assert len(Registry(ENTRIES).entries) == len(ENTRIES) == 16
    assert all(entry.name.startswith("generation.") for entry in ENTRIES)


def test_a_whole_stage_from_start_to_outputs() -> None:
    """Each state asks for its work, and the stage ends with teacher, data set and signal."""
    works: list[type] = []
    state = STAGE.decider.initial
    commands = (
        START,
        BOUND,
        PROBED,
        SealPlan(keys=("a",), fact=plan_sealed(1)),
        StartAttempt(request_key="a", attempt=0),
        EndAttempt(fact=ended("a", 0)),
        RecordSamples(fact=samples_built(SAMPLES_PER_RANGE + 1)),
        RecordLogits(fact=captured(0, SAMPLES_PER_RANGE)),
        RecordLogits(fact=captured(SAMPLES_PER_RANGE, 1)),
        SealDataset(fact=SEALED),
    )
    for command in commands:
        works.append(type(pending(state)))
        state = _after(command, state=state)
    ask, build, score = states.AskTeacher, states.BuildSamples, states.ScoreSamples
    assert works == [type(None), states.BindTeacher, states.ProbeTeacher, states.BuildPlan, ask, ask, build, score, score, states.Seal]
    assert STAGE.outcome(state) == Completed(outputs=(artifact("teacher"), SEALED.dataset, SEALED.signal))
    assert pending(state) is None


def test_a_plan_is_recorded_in_parts() -> None:
    """Keys of a large plan are spread over events, in order, since an event has a largest size."""
    keys = tuple(f"{number:064x}" for number in range(KEYS_PER_EVENT + 3))
    events = decide(SealPlan(keys=keys, fact=plan_sealed(len(keys))), _after(START, BOUND, PROBED))
    assert [len(event.keys) for event in events if isinstance(event, RequestsPlanned)] == [KEYS_PER_EVENT, 3]
    assert isinstance(events[-1], PlanSealed)
    work = pending(_asking(*keys))
    assert isinstance(work, states.AskTeacher)
    assert work.keys == keys[:KEYS_PER_WORK]


def test_a_plan_without_requests_goes_on_to_building() -> None:
    """Where every right answer is known nothing is asked."""
    assert isinstance(pending(_asking()), states.BuildSamples)


def test_a_lost_attempt_is_asked_again_and_counted() -> None:
    """An attempt that started and never ended belongs to a process that died: the key stays open with its attempt counted."""
    state = _after(StartAttempt(request_key="a", attempt=0), state=_asking("a", "b"))
    work = pending(state)
    assert isinstance(work, states.AskTeacher)
    assert (work.keys, work.num_attempts) == (("a", "b"), {"a": 1, "b": 0})
    state = _after(StartAttempt(request_key="a", attempt=1), EndAttempt(fact=ended("a", 1)), state=state)
    assert pending(state).keys == ("b",)  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["start", "accept", "fail", "unanswered", "reuse"])), max_size=30))
def test_open_requests_are_the_plan_without_what_is_settled(steps: list[tuple[str, str]]) -> None:
    """Whatever is tried in whatever order, a key is open iff it has neither a reply nor a rejection."""
    state, settled = _asking("a", "b", "c"), set[str]()
    for key, step in steps:
        if not isinstance(state, states.Asking):
            break
        try:
            state = _after(_step(key, step, state.requests), state=state)
        except CommandRejectedError:
            continue
        if step in ("accept", "fail", "reuse"):
            settled.add(key)
    if isinstance(state, states.Asking):
        assert state.requests.open == {"a", "b", "c"} - settled
        assert STAGE.progress(state) == Progress(done=len(settled), total=3, unit="replies")
    else:
        assert settled == {"a", "b", "c"}


def _step(key: str, step: str, requests: states.Requests) -> Command:
    attempt = requests.num_attempts.get(key, 0)
    match step:
        case "start":
            return StartAttempt(request_key=key, attempt=attempt)
        case "accept":
            return EndAttempt(fact=ended(key, attempt - 1))
        case "reuse":
            return ReuseReply(fact=ReplyReused(request_key=key, reply=blob("r"), from_position=3))
        case "fail":
            rejection = RequestRejected(request_key=key, kind="empty", reason="It was empty.", num_attempts=3)
            return EndAttempt(fact=ended(key, attempt - 1, outcome="failed", reply=None), rejection=rejection)
        case _:
            return EndAttempt(fact=ended(key, attempt - 1, outcome="unanswered", reply=None))


@pytest.mark.parametrize(
    "command",
    [
        StartAttempt(request_key="z", attempt=0),
        StartAttempt(request_key="a", attempt=2),
        EndAttempt(fact=ended("b", 0)),
        EndAttempt(fact=ended("a", 1)),
        EndAttempt(fact=replace(ended("a", 0), reply=None)),
        EndAttempt(fact=ended("a", 0, outcome="failed", reply=None)),
        EndAttempt(fact=ended("a", 0, outcome="unanswered")),
        ReuseReply(fact=ReplyReused(request_key="z", reply=BlobRef(sha256="0" * 64, num_bytes=1), from_position=1)),
        SealPlan(keys=("a",), fact=plan_sealed(1)),
        RecordSamples(fact=samples_built(1)),
        START,
    ],
)
def test_what_does_not_fit_is_refused(command: Command) -> None:
    """Keys outside the plan, ends without a start, replies without an acceptance: nothing of it is recorded."""
    state = _after(StartAttempt(request_key="a", attempt=0), state=_asking("a", "b"))
    with pytest.raises(CommandRejectedError):
        decide(command, state)


def test_a_settled_request_is_not_asked_again() -> None:
    """A key with a reply takes no further attempt, so nothing is paid for twice."""
    state = _after(StartAttempt(request_key="a", attempt=0), EndAttempt(fact=ended("a", 0)), state=_asking("a", "b"))
    with pytest.raises(CommandRejectedError, match="not open"):
        decide(StartAttempt(request_key="a", attempt=1), state)


def test_a_plan_with_repeated_keys_is_refused() -> None:
    """Two items with one request would be one item."""
    with pytest.raises(CommandRejectedError, match="distinct"):
        _asking("a", "a")


def test_ranges_are_scored_in_order() -> None:
    """A range that leaves a gap or overlaps is refused."""
    scoring = _after(RecordSamples(fact=samples_built(20)), state=_asking())
    for fact in (captured(4, 4), captured(0, 21)):
        with pytest.raises(CommandRejectedError, match="in order"):
            decide(RecordLogits(fact=fact), scoring)


def test_a_retryable_failure_goes_on_where_it_stopped() -> None:
    """Retry restores the state before the failure; a failure for good stays."""
    asking = _asking("a", "b")
    failed = _after(FailGeneration(step="ask", reason="gone", is_retryable=True), state=asking)
    assert isinstance(STAGE.outcome(failed), Failed)
    assert _after(RetryGeneration(), state=failed) == asking
    final = _after(FailGeneration(step="ask", reason="gone", is_retryable=False), state=asking)
    with pytest.raises(CommandRejectedError):
        decide(RetryGeneration(), final)


@pytest.mark.parametrize("state", [states.Idle(), states.Completed(outputs=())])
def test_only_work_can_fail(state: Any) -> None:
    """There is nothing to fail before the start and after the end."""
    with pytest.raises(CommandRejectedError):
        decide(FailGeneration(step="x", reason="y", is_retryable=True), state)


def test_unsettled_facts_stay_out_of_other_states() -> None:
    """A second teacher, probe or data set is refused once the first is there."""
    for command in (BOUND, PROBED, SealDataset(fact=SEALED), RecordLogits(fact=captured(0, 1))):
        with pytest.raises(CommandRejectedError):
            decide(command, _asking("a"))


def test_outputs_are_an_event() -> None:
    """The end names what the stage hands over."""
    sealing = _after(RecordSamples(fact=samples_built(1)), RecordLogits(fact=captured(0, 1)), state=_asking())
    assert isinstance(sealing, states.Sealing)
    assert isinstance(decide(SealDataset(fact=SEALED), sealing)[-1], GenerationCompleted)
