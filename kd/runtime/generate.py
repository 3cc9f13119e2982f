"""Decoding one answer: grammar mask, then temperature, top-k, top-p; greedy takes the lowest id among equals.

Promises: an answer is a function of engine, prompt, grammar and sampling alone; it stops at the end-of-sequence token, at the end
of the grammar or at the limit; text leaves at UTF-8 boundaries; times are raw nanoseconds, from which evaluation computes the rest.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from kd.errors import KdError
from kd.models.sampling import choose_token
from kd.models.teacher import Sampling
from kd.runtime.engine import Engine, EngineIdentity

__all__ = ["Finish", "GenerationRecord", "GrammarCursor", "NotFiniteError", "PromptTooLongError", "TextTokens", "generate"]

Finish = Literal["stop", "length", "grammar_end", "length_incomplete"]
"""`length_incomplete`: the limit was reached where the grammar does not allow the answer to end."""


class PromptTooLongError(KdError):
    """Prompt and answer do not fit the context."""

    def __init__(self, num_prompt_tokens: int, max_new_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"A prompt of {num_prompt_tokens} tokens and an answer of up to {max_new_tokens} exceed the context of {context_tokens}:"
            " shorten the prompt or the answer."
        )


class NotFiniteError(KdError):
    """The logits hold NaN or infinity."""

    def __init__(self) -> None:
        super().__init__("The logits hold NaN or infinity, expected finite numbers: the model is broken, train or export it again.")


class TextTokens(Protocol):
    """What decoding needs of a tokenizer."""

    @property
    def eos_id(self) -> int: ...

    def token_bytes(self, index: int, /) -> bytes: ...


class GrammarCursor(Protocol):
    """A place in a grammar."""

    @property
    def is_accepting(self) -> bool: ...

    @property
    def is_finished(self) -> bool: ...

    def mask(self) -> NDArray[np.bool_]:
        """Which ids may follow, the end-of-sequence token among them where the text may end."""
        ...

    def advance(self, token: int, /) -> object:
        """Move past `token`."""
        ...

    def forced_tokens(self) -> Sequence[int]:
        """The tokens that must follow, if there is no choice."""
        ...


@frozen(kw_only=True)
class GenerationRecord:
    """One decoded answer, with raw monotonic times in ns."""

    text: str
    output_ids: tuple[int, ...]
    """Without the end-of-sequence token."""
    finish: Finish
    num_prompt_tokens: int
    num_forced_tokens: int
    """Output tokens that the grammar left no choice for; they enter the model together."""
    engine: EngineIdentity
    request_ns: int
    prefilled_ns: int
    token_ns: tuple[int, ...]
    """When each output token was known."""
    first_text_ns: int | None
    end_ns: int


def generate(
    engine: Engine,
    tokens: TextTokens,
    prompt_ids: Sequence[int],
    *,
    sampling: Sampling,
    grammar: GrammarCursor | None = None,
    request_id: str = "",
    stops_at_eos: bool = True,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> GenerationRecord:
    """The answer of `engine` to `prompt_ids`; PromptTooLongError or NotFiniteError where there is none."""
    _check_room(engine, len(prompt_ids), sampling.max_tokens)
    request_ns = clock_ns()
    session = engine.open_session()
    logits_V = session.extend(prompt_ids)
    prefilled_ns = clock_ns()
    answer = _Answer(tokens, grammar, sampling, clock_ns)
    answer.add_forced()
    num_entered = 0
    while answer.finish is None:
        if num_entered < len(answer.ids):
            logits_V = session.extend(answer.ids[num_entered:])
            num_entered = len(answer.ids)
        token = choose_token(_finite(logits_V), _allowed(grammar, len(logits_V)), sampling, request_id, num_entered)
        if token == tokens.eos_id and stops_at_eos:
            answer.finish = "stop"
        else:
            answer.add(token)
            answer.add_forced()
    return GenerationRecord(
        text=answer.text,
        output_ids=tuple(answer.ids),
        finish=answer.finish,
        num_prompt_tokens=len(prompt_ids),
        num_forced_tokens=answer.num_forced,
        engine=engine.identity,
        request_ns=request_ns,
        prefilled_ns=prefilled_ns,
        token_ns=tuple(answer.times),
        first_text_ns=answer.first_text_ns,
        end_ns=clock_ns(),
    )


@define
class _Answer:
    """The answer so far."""

    tokens: TextTokens
    grammar: GrammarCursor | None
    sampling: Sampling
    clock_ns: Callable[[], int]
    finish: Finish | None = None
    ids: list[int] = field(factory=list)
    times: list[int] = field(factory=list)
    text: str = ""
    num_forced: int = 0
    first_text_ns: int | None = None
    decoder: codecs.IncrementalDecoder = field(factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def add(self, token: int) -> None:
        """Take `token`, and see whether it ends the answer."""
        self.ids.append(token)
        self.times.append(self.clock_ns())
        piece = self.decoder.decode(self.tokens.token_bytes(token))
        if piece and self.first_text_ns is None:
            self.first_text_ns = self.times[-1]
        self.text += piece
        if self.grammar is not None:
            self.grammar.advance(token)
        self.finish = self._end()

    def _end(self) -> Finish | None:
        """Why the answer ends here, if it does; a stop string and what follows it are cut off."""
        found = [place for stop in self.sampling.stop if (place := self.text.find(stop)) >= 0]
        if found:
            self.text = self.text[: min(found)]
            return "stop"
        if self.grammar is not None and self.grammar.is_finished:
            return "grammar_end"
        if len(self.ids) < self.sampling.max_tokens:
            return None
        return "length" if self.grammar is None or self.grammar.is_accepting else "length_incomplete"

    def add_forced(self) -> None:
        """Take all tokens that the grammar leaves no choice for."""
        if self.grammar is None or self.finish is not None:
            return
        for token in self.grammar.forced_tokens():
            if token == self.tokens.eos_id:
                self.finish = "grammar_end"
            else:
                self.num_forced += 1
                self.add(token)
            if self.finish is not None:
                return


def _finite(logits_V: NDArray[np.float32]) -> NDArray[np.float64]:
    scores_V: NDArray[np.float64] = logits_V.astype(np.float64)
    if not np.isfinite(scores_V).all():
        raise NotFiniteError
    return scores_V


def _allowed(grammar: GrammarCursor | None, vocab_size: int) -> NDArray[np.bool_] | None:
    """The grammar's mask `[V]`; ids that the model has beyond the tokenizer are not allowed."""
    if grammar is None:
        return None
    mask = grammar.mask()
    return mask if len(mask) == vocab_size else np.pad(mask, (0, vocab_size - len(mask)))


def _check_room(engine: Engine, num_prompt_tokens: int, max_new_tokens: int) -> None:
    if num_prompt_tokens < 1:
        raise ValueError("The prompt has no token, expected at least one: render it with the chat template.")
    if num_prompt_tokens + max_new_tokens > engine.context_tokens:
        raise PromptTooLongError(num_prompt_tokens, max_new_tokens, engine.context_tokens)
