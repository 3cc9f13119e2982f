"""Grammars for tool calls, and the masks that keep any model's tokens inside a grammar.

A grammar gives valid, not right: it says which tokens may follow, the model still chooses. The end of the answer is allowed
only where the grammar is satisfied.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from kd.dataset.tools import Tool
from kd.models.schema_grammar import GrammarError, LarkRules, bounded_schema
from kd.models.tokenizer import ChatTokenizer

__all__ = ["GrammarState", "TokenGrammar", "tool_call_grammar"]

_OPEN, _MIDDLE, _CLOSE = '{"name": ', ', "arguments": ', "}"


def tool_call_grammar(
    tools: Sequence[Tool], *, mode: Literal["schema", "grounded", "planned"], context: str = "", tool: str | None = None
) -> str:
    """Lark text for one call of one of `tools`, spelled as `kd.dataset.tools.call_text` spells it.

    `schema`: arguments fit the schema. `grounded`: their texts are moreover word substrings of `context` or members of an
    enumeration. `planned`: grounded, and the tool is `tool`. GrammarError for a schema that no grammar can hold to.
    """
    if mode == "planned":
        tools = [offered for offered in tools if offered.name == tool]
    if not tools:
        raise GrammarError(f"No tool called {tool!r} is offered: name one of the tools, or offer one.")
    rules = LarkRules(None if mode == "schema" else context)
    calls = []
    for offered in tools:
        pointer = f"/{offered.name}/parameters"
        bounded, _ = bounded_schema(offered.parameters, pointer)
        arguments = rules.value(bounded, pointer)
        calls.append(f"{json.dumps(_OPEN + json.dumps(offered.name) + _MIDDLE)} {arguments} {json.dumps(_CLOSE)}")
    return rules.text(" | ".join(calls))


class TokenGrammar:
    """A grammar over the tokens of one tokenizer; compiled once, started for every reply."""

    def __init__(self, tokenizer: ChatTokenizer, grammar_text: str) -> None:
        """GrammarError if `grammar_text` is not a grammar in Lark."""
        self.text = grammar_text
        self._eos_id = tokenizer.eos_id
        self._vocab_size = tokenizer.vocab_size
        self._matcher = LLMatcher(_tokens_of(tokenizer), grammar_text, log_level=0)
        if self._matcher.is_error():
            raise GrammarError(f"The grammar cannot be compiled ({_first_line(self._matcher.get_error())}): correct its Lark text.")

    def start(self) -> GrammarState:
        """The state before the first token."""
        return GrammarState(self._matcher.deep_copy(), self._eos_id, self._vocab_size)


class GrammarState:
    """Where a reply stands in its grammar."""

    def __init__(self, matcher: LLMatcher, eos_id: int, vocab_size: int) -> None:
        self._matcher = matcher
        self._eos_id = eos_id
        self._vocab_size = vocab_size

    @property
    def is_accepting(self) -> bool:
        """What was written so far fits the grammar wholly: the reply may end here."""
        return bool(self._matcher.is_accepting())

    @property
    def is_finished(self) -> bool:
        """Nothing can follow but the end."""
        return bool(self._matcher.is_stopped())

    def mask(self) -> NDArray[np.bool_]:
        """Which token may come next, `[V]`; EOS only where the grammar is satisfied."""
        if self.is_finished:
            allowed = np.zeros(self._vocab_size, dtype=np.bool_)
            allowed[self._eos_id] = True
            return allowed
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        self._check()
        return bias[: self._vocab_size] > 0

    def advance(self, token: int) -> None:
        """Take `token`; GrammarError if it is not allowed here."""
        if self.is_finished and token == self._eos_id:
            return
        if self.is_finished or not self._matcher.consume_token(token):
            raise GrammarError(f"Token {token} is not what the grammar allows here: take one that the mask allows.")

    def forced_tokens(self) -> tuple[int, ...]:
        """Tokens that must come next because the grammar leaves no other bytes; often none."""
        if self.is_finished:
            return ()
        forced = tuple(self._matcher.compute_ff_tokens())
        self._check()
        return forced

    def copy(self) -> GrammarState:
        """A state that goes its own way from here."""
        return GrammarState(self._matcher.deep_copy(), self._eos_id, self._vocab_size)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"The grammar failed while decoding ({_first_line(self._matcher.get_error())}): make it simpler.")


class _Vocabulary:
    """A tokenizer as llguidance wants to see it."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = [
            b"<special %d>" % index if index in tokenizer.special_ids else tokenizer.token_bytes(index)
            for index in range(tokenizer.vocab_size)
        ]

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


@lru_cache(maxsize=4)
def _tokens_of(tokenizer: ChatTokenizer) -> LLTokenizer:
    """The trie of the tokenizer's vocabulary, built once for each tokenizer of the process."""
    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)), slices=[])


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "no reason given"
