"""The teacher port: what any teacher is asked and answers, whether it runs in this process, beside it or far away.

A request has a key, which is the digest of everything the reply depends on; prices, time limits and order are outside it.
Hidden reasoning has no type here: a reply holds text that people may see, and of reasoning only its number of tokens.
"""

from __future__ import annotations

import json
from typing import Literal, NewType, Protocol

from attrs import field, frozen, validators

from kd.dataset.canonical import canonical_json, digest_of, structure
from kd.dataset.sample import Message
from kd.errors import PauseNeededError, StageError
from kd.models.hybrid_columns import HybridColumns

__all__ = [
    "REASONING_MARKS",
    "Capabilities",
    "FailureKind",
    "Finish",
    "Sampling",
    "ScoreRequest",
    "ScoreRow",
    "ScoredRow",
    "ScoredTokens",
    "Teacher",
    "TeacherFailure",
    "TeacherIdentity",
    "TeacherRefusedError",
    "TeacherReply",
    "TeacherRequest",
    "TeacherUnavailableError",
    "Usage",
    "VisibleText",
    "read_reply",
    "request_key",
    "visible_text",
    "write_reply",
]

REASONING_MARKS = ("<think>", "</think>", "<|channel|>analysis")
"""Text that shows that a visible answer carries hidden reasoning."""

VisibleText = NewType("VisibleText", str)
"""Text of a reply that carries no reasoning marks; made by `visible_text`."""

Finish = Literal["stop", "length", "grammar_end", "tool_calls", "content_filter"]
FailureKind = Literal["malformed", "empty", "model_drift", "reasoning_leak", "context_too_long", "rejected", "exhausted"]


@frozen(kw_only=True)
class TeacherIdentity:
    """Which teacher answers; the digest of this is the teacher's fingerprint."""

    kind: Literal["local", "http"]
    model: str
    weights: str = ""
    """SHA-256 of the weights, where they are known."""
    tokenizer: str = ""
    """Digest of the tokenizer, where it is known."""
    chat_template: str = ""
    """SHA-256 of the chat template, where it is known."""
    base_url: str = ""
    """Where a hosted model is served; empty where the weights are known: the port does not change the teacher."""
    epoch: str = ""
    """A word that the user changes to ask a hosted model afresh; empty where the weights are known."""

    def __attrs_post_init__(self) -> None:
        if self.weights and (self.base_url or self.epoch):
            raise ValueError("An identity has the digest of its weights or a base_url and an epoch, not both: leave one out.")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, as 64 hex digits."""
        return digest_of(["kd.teacher/1", self])


@frozen(kw_only=True)
class Capabilities:
    """What a teacher was measured, or says, to be able to do."""

    logprobs: Literal["none", "chosen", "top_k", "full"]
    """`full`: distributions over the whole vocabulary, by `Teacher.score`."""
    top_k: int = 0
    """Most alternatives a token that a reply can carry."""
    prompt_scoring: bool = False
    """`Teacher.score` works."""
    grammar: Literal["none", "json_schema", "lark"] = "none"
    has_seed: bool = False
    max_context_tokens: int | None = None


@frozen(kw_only=True)
class Sampling:
    """How tokens are drawn; temperature 0 takes the most probable one."""

    temperature: float = field(default=1.0, validator=validators.ge(0.0))
    top_p: float = field(default=0.95, validator=[validators.gt(0.0), validators.le(1.0)])
    top_k: int = field(default=0, validator=validators.ge(0))
    """0: all tokens."""
    max_tokens: int = field(default=1024, validator=validators.ge(1))
    stop: tuple[str, ...] = ()
    seed: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class TeacherRequest:
    """One question. Tools are described in the messages, and a grammar keeps the answer to calls of them."""

    role: str = "worker"
    messages: tuple[Message, ...] = field(validator=validators.min_len(1))
    grammar: str | None = None
    """Lark text that the reply must fit, or None for free text."""
    sampling: Sampling = field(factory=Sampling)
    sample_index: int = field(default=0, validator=validators.ge(0))
    """Which of several samples of the same question this is."""


@frozen(kw_only=True)
class Usage:
    """Tokens of one request, as the provider counted them."""

    prompt_tokens: int = field(validator=validators.ge(0))
    output_tokens: int = field(validator=validators.ge(0))
    cached_tokens: int = field(default=0, validator=validators.ge(0))
    reasoning_tokens: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class TeacherReply:
    """An accepted answer; everything but `duration_seconds` and the ids of the provider is the same for the same exact teacher."""

    text: VisibleText
    finish: Finish
    token_ids: tuple[int, ...] = ()
    """Ids of the reply's tokens without EOS; empty where the teacher does not tell."""
    allowed_mass: tuple[float, ...] = ()
    """Probability that the teacher gave to what the grammar allowed, one number a token; empty without a grammar."""
    usage: Usage | None = None
    """None where the provider does not count."""
    served_model: str
    system_fingerprint: str = ""
    provider_request_id: str = ""
    num_attempts: int = 1
    """Times the request was sent until this reply came."""
    duration_seconds: float = 0.0
    """From the first sending to the whole reply, waits included."""


@frozen(kw_only=True)
class TeacherFailure:
    """A request that will not be answered, and why; asking it once more would not help."""

    kind: FailureKind
    reason: str
    num_attempts: int


@frozen(kw_only=True)
class ScoreRow:
    """A sequence whose tokens at `targets` are to be scored."""

    record_id: str
    ids: tuple[int, ...] = field(validator=validators.min_len(2))
    targets: tuple[int, ...] = field(validator=validators.min_len(1))
    """Places in `ids`, ascending, from 1: the distribution at place i is the one over what follows ids[:i]."""
    grammar: str | None = None
    """Lark text that the targets fit: their distributions are then masked by it and renormalised."""

    @targets.validator
    def _check_targets(self, _attribute: object, targets: tuple[int, ...]) -> None:
        if list(targets) != sorted(set(targets)) or targets[0] < 1 or targets[-1] >= len(self.ids):
            raise ValueError(f"Targets of {self.record_id!r} must ascend within 1 to {len(self.ids) - 1}, got {targets[:8]}.")


@frozen(kw_only=True)
class ScoreRequest:
    """Teacher-forced distributions over given tokens, in hybrid form: the k most probable ids and S draws from the rest."""

    rows: tuple[ScoreRow, ...] = field(validator=validators.min_len(1))
    k: int = field(default=12, validator=validators.ge(1))
    s: int = field(default=8, validator=validators.ge(1))
    seed: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class ScoredRow:
    """The distributions at the targets of one `ScoreRow`, in their order."""

    record_id: str
    columns: HybridColumns


@frozen(kw_only=True)
class ScoredTokens:
    """The answer to a `ScoreRequest`, row by row."""

    rows: tuple[ScoredRow, ...]


class Teacher(Protocol):
    """Whoever can be asked."""

    def identity(self) -> TeacherIdentity:
        """Which teacher this is."""
        ...

    async def probe(self) -> Capabilities:
        """What it can do, measured by asking it."""
        ...

    async def reply(self, request: TeacherRequest, attempt: int) -> TeacherReply | TeacherFailure:
        """The answer; `attempt` counts earlier calls for the same request.

        TeacherUnavailableError when nothing can be asked at present, TeacherRefusedError when the teacher does not want us.
        """
        ...

    async def score(self, request: ScoreRequest) -> ScoredTokens:
        """Distributions over given tokens."""
        ...


class TeacherUnavailableError(PauseNeededError):
    """The teacher cannot be asked at present; nothing that it answered is lost. The run pauses."""

    def __init__(self, reason: str, *, until_seconds: float | None = None, hint: str = "") -> None:
        super().__init__("teacher", "teacher_unavailable", reason, hint=hint)
        self.until_seconds = until_seconds
        """How long the teacher asked us to wait, where it did."""


class TeacherRefusedError(StageError):
    """The teacher refuses the user or the kind of request; asking again changes nothing."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__("teacher", reason, is_retryable=True, hint=hint)


def visible_text(text: str) -> VisibleText:
    """`text` as text that people may see; ValueError if it carries a reasoning mark, since trimming would only hide the leak."""
    for mark in REASONING_MARKS:
        if mark in text:
            raise ValueError(f"The visible answer carries the reasoning mark {mark!r}.")
    return VisibleText(text)


def request_key(identity: TeacherIdentity, request: TeacherRequest) -> str:
    """SHA-256 over all that the reply depends on, as 64 hex digits: equal keys are asked once."""
    grammar = None if request.grammar is None else digest_of(request.grammar)
    return digest_of(
        {
            "format": "kd.request/1",
            "teacher": identity.fingerprint,
            "role": request.role,
            "messages": request.messages,
            "grammar": grammar,
            "sampling": request.sampling,
            "sample_index": request.sample_index,
        }
    )


def write_reply(reply: TeacherReply) -> bytes:
    """`reply` as canonical JSON."""
    return canonical_json(reply)


def read_reply(data: bytes) -> TeacherReply:
    """The inverse of `write_reply`."""
    return structure(json.loads(data), TeacherReply)
