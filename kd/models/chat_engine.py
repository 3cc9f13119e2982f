"""What the server asks of an engine that answers chats, and what it gets: plain values, free of HTTP and of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from attrs import field, frozen, validators

from kd.dataset.canonical import digest_of
from kd.models.teacher import Capabilities, Sampling, ScoredTokens, ScoreRequest, TeacherIdentity

__all__ = ["MAX_TOP_LOGPROBS", "BadQuestionError", "ChatEngine", "Completion", "Question", "TokenLogprob", "Turn"]

MAX_TOP_LOGPROBS = 20


@frozen(kw_only=True)
class Turn:
    """One message of a conversation, whatever text it holds."""

    role: str = field(validator=validators.matches_re(r"[a-z_]+"))
    content: str


@frozen(kw_only=True)
class Question:
    """A conversation to be continued."""

    turns: tuple[Turn, ...] = field(validator=validators.min_len(1))
    grammar: str | None = None
    """Lark text that the reply must fit."""
    sampling: Sampling = field(factory=Sampling)
    num_top_logprobs: int | None = None
    """Alternatives to tell a token; None: no log-probabilities at all."""

    @property
    def digest(self) -> str:
        """SHA-256 over all that the reply of an exact engine depends on; `num_top_logprobs` changes no token."""
        return digest_of(["kd.question/1", self.turns, self.grammar, self.sampling])


@frozen(kw_only=True)
class TokenLogprob:
    """Log-probabilities at one token of a reply, in nats, before any grammar."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """The most probable ids, falling."""


@frozen(kw_only=True)
class Completion:
    """A reply."""

    text: str
    token_ids: tuple[int, ...]
    """Without EOS; empty where a stop string cut the text inside them."""
    finish: Literal["stop", "length", "grammar_end"]
    num_prompt_tokens: int
    num_output_tokens: int
    allowed_mass: tuple[float, ...] = ()
    """Probability of what the grammar allowed, one number a token; empty without a grammar."""
    logprobs: tuple[TokenLogprob, ...] = ()


class BadQuestionError(Exception):
    """A question that this engine cannot take up; the message says why and what to do."""


class ChatEngine(Protocol):
    """Whatever the server serves. Calls come one at a time, from one thread."""

    @property
    def identity(self) -> TeacherIdentity:
        """Which teacher this is."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def complete(self, question: Question, on_text: Callable[[str], None] | None = None) -> Completion:
        """The reply; `on_text` is given its text piece by piece. BadQuestionError if it cannot be asked this."""
        ...

    def score(self, request: ScoreRequest) -> ScoredTokens:
        """Distributions over given tokens. BadQuestionError if they do not fit the model."""
        ...

    def token_text(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""
        ...
