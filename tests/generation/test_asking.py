"""Asking: every attempt on record before it leaves, recorded replies first, and a stop or a lost teacher leaves nothing unclear."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from kd.generation.asking import OpenRequest, ask, recorded_replies
from kd.generation.commands import Command, EndAttempt, RecordProbe, RecordTeacher, SealPlan, StartGeneration
from kd.generation.config import GenerationConfig
from kd.generation.events import ENTRIES, AttemptEnded, AttemptStarted, ReplyReused, RequestRejected, TeacherBound, TeacherProbed
from kd.generation.machine import STAGE
from kd.generation.states import Asking, Building
from kd.models.teacher import (
    Capabilities,
    ScoredTokens,
    ScoreRequest,
    TeacherFailure,
    TeacherIdentity,
    TeacherReply,
    TeacherRequest,
    TeacherUnavailableError,
    Usage,
    read_reply,
    visible_text,
)
from kd.ports import Ports
from kd.stage import Wish
from tests.fakes import Teller, make_ports
from tests.generation.facts import artifact, plan_sealed
from tests.models.serving import question

KEYS = tuple("abcdef")


class Parrot:
    """A teacher that repeats the question; `mood` says what else it does with one."""

    def __init__(self, **mood: str) -> None:
        self.mood = mood
        self.asked: list[str] = []
        self.seen_started: list[bool] = []
        self.teller: Teller | None = None

    def identity(self) -> TeacherIdentity:
        return TeacherIdentity(kind="local", model="parrot", weights="0" * 64)

    async def probe(self) -> Capabilities:
        return Capabilities(logprobs="none")

    async def reply(self, request: TeacherRequest, attempt: int) -> TeacherReply | TeacherFailure:
        text = request.messages[-1].content
        assert self.teller is not None
        self.seen_started.append(any(isinstance(e, AttemptStarted) and e.request_key == text for e in self.teller.events))
        self.asked.append(text)
        match self.mood.get(text):
            case "fail":
                return TeacherFailure(kind="empty", reason="It was empty.", num_attempts=3)
            case "gone":
                raise TeacherUnavailableError("The parrot flew away.")
            case "stall":
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        return TeacherReply(
            text=visible_text(text),
            finish="stop",
            served_model="parrot",
            usage=Usage(prompt_tokens=1, output_tokens=2),
            num_attempts=2,
            duration_seconds=len(self.asked),
            provider_request_id=f"p{len(self.asked)}",
        )

    async def score(self, request: ScoreRequest) -> ScoredTokens:
        raise AssertionError("nothing is scored here")


def _teller(ports: Ports, *wishes: Wish, stream: str = "run/test") -> Teller:
    teller = Teller(STAGE, wishes=wishes, store=ports.store, stream=stream)
    probe = TeacherProbed(served_model="p", logprobs="none", has_prompt_scoring=True, grammar="lark", max_context_tokens=None, seconds=0.1)
    for command in (
        StartGeneration(config=GenerationConfig(), inputs=(), seed=1),
        RecordTeacher(fact=TeacherBound(teacher=artifact("teacher"), fingerprint="f", seconds=0.1)),
        RecordProbe(fact=probe),
    ):
        teller.handle(command)
    teller.handle(SealPlan(keys=KEYS, fact=plan_sealed(len(KEYS))))
    return teller


async def _ask(teller: Teller, parrot: Parrot, ports: Ports, keys: tuple[str, ...] = KEYS) -> Command | None:
    parrot.teller = teller
    state = teller.state
    assert isinstance(state, Asking)
    requests = [OpenRequest(key=key, request=question(key), num_attempts=state.requests.num_attempts.get(key, 0)) for key in keys]
    command = await ask(requests, parrot, ports, teller, max_concurrency=2)
    if command is not None:
        teller.handle(command)
    return command


async def test_all_requests_are_answered_and_the_last_command_is_handed_back(tmp_path: Path) -> None:
    """Every attempt was on record when it left; the stage goes on once the last command is decided."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot()
    teller = _teller(ports)
    assert isinstance(await _ask(teller, parrot, ports), EndAttempt)
    assert isinstance(teller.state, Building)
    assert sorted(parrot.asked) == list(KEYS)
    assert all(parrot.seen_started)
    replies = {key: read_reply(ports.read_bytes(ref)) for key, ref in teller.state.requests.replies.items()}
    assert {key: reply.text for key, reply in replies.items()} == {key: key for key in KEYS}


async def test_a_reply_is_stored_without_the_times_of_its_making(tmp_path: Path) -> None:
    """Equal replies are equal blobs; how long and how often is in the event."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot()
    teller = _teller(ports)
    await _ask(teller, parrot, ports)
    ended = [event for event in teller.events if isinstance(event, AttemptEnded)]
    assert all(event.num_sends == 2 and event.usage is not None and event.provider_request_id for event in ended)
    stored = [read_reply(ports.read_bytes(event.reply)) for event in ended if event.reply is not None]
    assert {(reply.duration_seconds, reply.num_attempts, reply.provider_request_id) for reply in stored} == {(0.0, 1, "")}


async def test_a_failed_request_is_rejected_with_its_reason(tmp_path: Path) -> None:
    """The others go on, and the key is settled."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot(c="fail")
    teller = _teller(ports)
    await _ask(teller, parrot, ports)
    assert isinstance(teller.state, Building)
    (rejected,) = (event for event in teller.events if isinstance(event, RequestRejected))
    assert (rejected.request_key, rejected.kind, rejected.num_attempts) == ("c", "empty", 3)
    assert len(teller.state.requests.replies) == 5


async def test_another_run_asks_nothing_that_the_ledger_holds(tmp_path: Path) -> None:
    """Replies of any run answer equal requests, at the position of the record that brought them."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot()
    await _ask(_teller(ports), parrot, ports)
    again, silent = _teller(ports, stream="run/other"), Parrot()
    await _ask(again, silent, ports)
    assert silent.asked == []
    assert isinstance(again.state, Building)
    reused = [event for event in again.events if isinstance(event, ReplyReused)]
    assert [event.request_key for event in reused] == list(KEYS)
    for event in reused:
        record = next(iter(ports.store.scan(start=event.from_position)))
        assert isinstance(record.event, AttemptEnded)
        assert (record.event.request_key, record.event.reply) == (event.request_key, event.reply)


async def test_a_rejection_is_no_reply_to_reuse(tmp_path: Path) -> None:
    """Another run asks again what failed before."""
    ports = make_ports(tmp_path, ENTRIES)
    await _ask(_teller(ports), Parrot(c="fail"), ports)
    assert set(recorded_replies(ports.store, KEYS)) == set(KEYS) - {"c"}
    again, parrot = _teller(ports, stream="run/other"), Parrot()
    await _ask(again, parrot, ports)
    assert parrot.asked == ["c"]


async def test_a_teacher_that_is_gone_leaves_no_attempt_unclear(tmp_path: Path) -> None:
    """The error goes up, what was in flight is recorded as unanswered, and a later round asks it alone."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot(a="stall", c="gone")
    teller = _teller(ports)
    with pytest.raises(TeacherUnavailableError, match="flew away"):
        await _ask(teller, parrot, ports)
    assert isinstance(teller.state, Asking)
    assert teller.state.requests.in_flight == frozenset()
    outcomes = Counter(event.outcome for event in teller.events if isinstance(event, AttemptEnded))
    assert outcomes == {"unanswered": 2, "accepted": 1}
    later = Parrot()
    await _ask(teller, later, ports, tuple(sorted(teller.state.requests.open)))
    assert sorted(later.asked) == ["a", "c", "d", "e", "f"]
    assert isinstance(teller.state, Building)


async def test_a_stop_lets_what_is_in_flight_come_home(tmp_path: Path) -> None:
    """After a stop nothing new is sent, and no attempt is left open."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot()
    teller = _teller(ports, Wish.GO_ON, Wish.GO_ON, Wish.STOP, *[Wish.STOP] * 50)
    assert await _ask(teller, parrot, ports) is None
    assert isinstance(teller.state, Asking)
    assert teller.state.requests.in_flight == frozenset()
    assert 1 <= len(teller.state.requests.replies) == len(parrot.asked) < len(KEYS)


async def test_a_stop_at_once_gives_up_what_is_in_flight(tmp_path: Path) -> None:
    """A teacher that never answers holds nobody up."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot(**dict.fromkeys(KEYS, "stall"))
    teller = _teller(ports, Wish.GO_ON, Wish.GO_ON, Wish.GO_ON, *[Wish.STOP_NOW] * 50)
    assert await asyncio.wait_for(_ask(teller, parrot, ports), timeout=10) is None
    assert isinstance(teller.state, Asking)
    assert teller.state.requests.open == set(KEYS)
    assert teller.state.requests.in_flight == frozenset()


async def test_a_stop_before_the_first_request_sends_nothing(tmp_path: Path) -> None:
    """The wish is asked before anything leaves."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot()
    assert await _ask(_teller(ports, *[Wish.STOP] * 9), parrot, ports) is None
    assert parrot.asked == []


async def test_an_answer_that_came_is_recorded_although_another_request_finds_the_teacher_gone(tmp_path: Path) -> None:
    """Cancelling what is in flight does not cancel the recording of what has arrived."""
    ports, parrot = make_ports(tmp_path, ENTRIES), Parrot(b="gone")

    class Slow(Teller):
        async def awaitable(self, *commands: object) -> Wish:
            for _ in range(20):
                await asyncio.sleep(0)
            return self(*commands)

    quick = _teller(ports)
    slow = Slow(STAGE)
    for event in quick.events:
        slow.state = STAGE.decider.evolve(slow.state, event)
    parrot.teller = quick
    quick.events.extend(AttemptStarted(request_key=key, attempt=0) for key in KEYS)
    requests = [OpenRequest(key=key, request=question(key), num_attempts=0) for key in KEYS]
    with pytest.raises(TeacherUnavailableError):
        await ask(requests, parrot, ports, slow, max_concurrency=2)
    assert set(slow.state.requests.replies) == {"a"}
    assert slow.state.requests.in_flight == frozenset()
