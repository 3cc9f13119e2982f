"""A reply as it grows, token by token: what comes next, how probable it was, and when and why it ends.

Legend: T tokens taken together, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kd.models.chat_engine import Completion, Question, TokenLogprob
from kd.models.grammar import GrammarState
from kd.models.sampling import choose_token
from kd.models.tokenizer import ChatTokenizer

__all__ = ["Float64", "ReplyWriter"]

Float64 = NDArray[np.float64]

_UNFINISHED = "\ufffd"
"""What the bytes of half a character decode to."""


class ReplyWriter:
    """Ask `next_tokens`, then `take` them, until `next_tokens` answers with none; `completion` is the result."""

    def __init__(
        self,
        question: Question,
        tokenizer: ChatTokenizer,
        grammar: GrammarState | None,
        *,
        max_tokens: int,
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._question = question
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._max_tokens = max_tokens
        self._on_text = on_text
        self._key = question.digest
        self._tokens: list[int] = []
        self._masses: list[float] = []
        self._logprobs: list[TokenLogprob] = []
        self._finish: Literal["stop", "length", "grammar_end"] | None = None
        self._cut: str | None = None
        self._num_sent = 0

    @property
    def has_ended(self) -> bool:
        """There is nothing more to take."""
        return self._finish is not None

    def next_tokens(self, log_probs_V: Float64) -> tuple[int, ...]:
        """The tokens that come next: one chosen by `log_probs_V`, or all that the grammar forces; none at the end."""
        if self.has_ended:
            return ()
        forced = self._grammar.forced_tokens() if self._grammar is not None else ()
        if forced:
            return forced[: self._max_tokens - len(self._tokens)]
        allowed_V = self._grammar.mask() if self._grammar is not None else None
        token = choose_token(log_probs_V, allowed_V, self._question.sampling, self._key, len(self._tokens))
        if token == self._tokenizer.eos_id:
            self._finish = "stop"
            return ()
        return (token,)

    def take(self, tokens: tuple[int, ...], log_probs_TV: Float64) -> None:
        """Add `tokens`; row i of `log_probs_TV` is the distribution that token i came from."""
        for token, log_probs_V in zip(tokens, log_probs_TV, strict=True):
            if self._grammar is not None:
                self._masses.append(min(float(np.exp(log_probs_V[self._grammar.mask()]).sum()), 1.0))
                self._grammar.advance(token)
            if self._question.num_top_logprobs is not None:
                self._logprobs.append(_logprob(token, log_probs_V, self._question.num_top_logprobs))
            self._tokens.append(token)
        self._look_for_end()
        self._send()

    def completion(self, num_prompt_tokens: int) -> Completion:
        """The finished reply."""
        assert self._finish is not None, "a reply was asked for before its end"
        self._send()
        return Completion(
            text=self._text(),
            token_ids=() if self._cut is not None else tuple(self._tokens),
            finish=self._finish,
            num_prompt_tokens=num_prompt_tokens,
            num_output_tokens=len(self._tokens),
            allowed_mass=tuple(self._masses),
            logprobs=tuple(self._logprobs),
        )

    def _look_for_end(self) -> None:
        stops = self._question.sampling.stop
        if stops:
            text = self._tokenizer.decode(self._tokens)
            ends = [place for stop in stops if (place := text.find(stop)) >= 0]
            if ends:
                self._cut = text[: min(ends)]
        if self._cut is not None:
            self._finish = "stop"
        elif self._grammar is not None and self._grammar.is_finished:
            self._finish = "grammar_end"
        elif len(self._tokens) >= self._max_tokens:
            self._finish = "length"

    def _text(self) -> str:
        return self._cut if self._cut is not None else self._tokenizer.decode(self._tokens)

    def _send(self) -> None:
        """Hand on what can no longer change: no half character, nothing that may turn out to begin a stop string."""
        if self._on_text is None:
            return
        text = self._text()
        if self.has_ended:
            end = len(text)
        else:
            end = len(text.rstrip(_UNFINISHED)) - max((len(stop) - 1 for stop in self._question.sampling.stop), default=0)
        if end > self._num_sent:
            self._on_text(text[self._num_sent : end])
            self._num_sent = end


def _logprob(token: int, log_probs_V: Float64, num_top: int) -> TokenLogprob:
    order = np.argsort(-log_probs_V, kind="stable")[:num_top] if num_top else ()
    return TokenLogprob(
        token_id=token,
        logprob=float(log_probs_V[token]),
        top=tuple((int(index), float(log_probs_V[index])) for index in order),
    )
