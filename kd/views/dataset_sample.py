"""What a teacher was asked, what became of each request, and how many samples came of it.

Texts lie in blobs, which a view does not read: `planned_prompts` and `reply_text` take the bytes of one, `kd.views.sample_text` those of
the samples. What they answer is foreign text and has to be made safe before it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from attrs import field, frozen

from kd.generation.events import (
    AttemptEnded,
    AttemptStarted,
    DatasetSealed,
    LogitsCaptured,
    PlanSealed,
    ReplyReused,
    RequestRejected,
    RequestsPlanned,
    SamplesBuilt,
    TokenUsage,
)
from kd.views.run_streams import is_of_run
from kd.views.shared_list import SharedList
from ledger.record import BlobRef, Record

__all__ = [
    "Decision",
    "PlannedPrompt",
    "RequestRow",
    "SampleTable",
    "apply_to_samples",
    "initial_samples",
    "planned_prompts",
    "reply_text",
]

Decision = Literal["open", "asking", "answered", "reused", "rejected"]
"""`asking`: an attempt is under way, or was when its process died."""


@frozen(kw_only=True)
class RequestRow:
    """One request of the plan."""

    key: str
    decision: Decision
    num_attempts: int = 0
    num_sends: int = 0
    """Times it went over the wire, in all attempts."""
    seconds: float = 0.0
    """In all attempts that ended."""
    usage: TokenUsage | None = None
    reply: BlobRef | None = None
    kind: str = ""
    """Of a rejection."""
    reason: str = ""
    position: int | None = None
    """Of the newest record about it."""


@frozen
class SampleTable:
    """The data set of `run` so far."""

    run: str
    keys: SharedList[tuple[str, ...]] = field(factory=SharedList)
    """Keys of the requests in order of the plan, in the parts they were recorded in."""
    facts: SharedList[tuple[int, _Fact]] = field(factory=SharedList)
    """What happened to requests, each with the position of its record."""
    plan: PlanSealed | None = None
    built: SamplesBuilt | None = None
    sealed: DatasetSealed | None = None
    num_scored: int = 0
    """Samples whose teacher distributions are captured."""
    num_open: int = 0
    num_answered: int = 0
    num_rejected: int = 0

    def rows(self) -> tuple[RequestRow, ...]:
        """A row for each request, in order of the plan."""
        found: dict[str, list[tuple[int, _Fact]]] = {key: [] for part in self.keys for key in part}
        for position, fact in self.facts:
            found.setdefault(fact.request_key, []).append((position, fact))
        return tuple(_row(key, facts) for key, facts in found.items())

    def rejections(self) -> dict[str, int]:
        """Rejected requests by kind, the most frequent first."""
        counts: dict[str, int] = {}
        for _, fact in self.facts:
            if isinstance(fact, RequestRejected):
                counts[fact.kind] = counts.get(fact.kind, 0) + 1
        return dict(sorted(counts.items(), key=lambda count: -count[1]))


@frozen(kw_only=True)
class PlannedPrompt:
    """What a request asks."""

    key: str
    kind: str
    split: str
    scenario: str
    messages: tuple[tuple[str, str], ...]
    """Role and content."""
    tools: tuple[str, ...]


def initial_samples(run: str) -> SampleTable:
    """Nothing is asked."""
    return SampleTable(run)


def apply_to_samples(state: SampleTable, record: Record) -> SampleTable:
    """The table after `record`; records of other runs change nothing."""
    event = record.event
    if not isinstance(event, _EVENTS) or not is_of_run(record.stream, state.run):
        return state
    keys, facts, plan, built, sealed = state.keys, state.facts, state.plan, state.built, state.sealed
    num_scored, num_open, num_answered, num_rejected = state.num_scored, state.num_open, state.num_answered, state.num_rejected
    if isinstance(event, _FACTS):
        facts = facts.append((record.position, event))
        has_reply = isinstance(event, ReplyReused) or (isinstance(event, AttemptEnded) and event.reply is not None)
        is_rejected = isinstance(event, RequestRejected)
        num_answered, num_rejected, num_open = num_answered + has_reply, num_rejected + is_rejected, num_open - (has_reply or is_rejected)
    match event:
        case RequestsPlanned():
            keys, num_open = keys.append(event.keys), num_open + len(event.keys)
        case PlanSealed():
            plan = event
        case SamplesBuilt():
            built = event
        case DatasetSealed():
            sealed = event
        case LogitsCaptured():
            num_scored += event.num_samples
        case _:
            pass
    return SampleTable(state.run, keys, facts, plan, built, sealed, num_scored, num_open, num_answered, num_rejected)


def planned_prompts(data: bytes) -> dict[str, PlannedPrompt]:
    """What each request of a sealed plan asks, by its key; ValueError for what is no plan."""
    prompts = (_prompt(item) for item in _object(data).get("items", ()) if item.get("key"))
    return {prompt.key: prompt for prompt in prompts}


def reply_text(data: bytes) -> str:
    """The text of a stored reply; ValueError for what is no reply."""
    text = _object(data).get("text")
    if not isinstance(text, str):
        raise ValueError("The stored reply has no text.")
    return text


def _row(key: str, facts: list[tuple[int, _Fact]]) -> RequestRow:
    decision: Decision = "open"
    num_attempts, num_sends, seconds = 0, 0, 0.0
    usage: TokenUsage | None = None
    reply: BlobRef | None = None
    kind = reason = ""
    for _, fact in facts:
        match fact:
            case AttemptStarted():
                decision, num_attempts = "asking", num_attempts + 1
            case AttemptEnded():
                decision = "open" if fact.reply is None else "answered"
                num_sends, seconds = num_sends + fact.num_sends, seconds + fact.seconds
                usage, reply = fact.usage or usage, fact.reply or reply
            case ReplyReused():
                decision, reply = "reused", fact.reply
            case RequestRejected():
                decision, kind, reason = "rejected", fact.kind, fact.reason
    return RequestRow(
        key=key,
        decision=decision,
        num_attempts=num_attempts,
        num_sends=num_sends,
        seconds=seconds,
        usage=usage,
        reply=reply,
        kind=kind,
        reason=reason,
        position=facts[-1][0] if facts else None,
    )


def _prompt(item: Mapping[str, Any]) -> PlannedPrompt:
    try:
        return PlannedPrompt(
            key=item["key"],
            kind=item["kind"],
            split=item["split"],
            scenario=item["labels"]["scenario"],
            messages=_messages(item["messages"]),
            tools=_tool_names(item["tools"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"An item of the plan is no request, it lacks {error}.") from error


def _messages(messages: list[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in messages)


def _tool_names(tools: list[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(tool["name"] for tool in tools)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The blob is no JSON object: {error}.") from error
    return found


_Fact = AttemptStarted | AttemptEnded | ReplyReused | RequestRejected
_FACTS = (AttemptStarted, AttemptEnded, ReplyReused, RequestRejected)
_EVENTS = (*_FACTS, RequestsPlanned, PlanSealed, SamplesBuilt, DatasetSealed, LogitsCaptured)
