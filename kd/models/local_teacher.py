"""A teacher in this process, exact: a reply is a function of its question alone, whatever was asked before or beside it.

It answers one question at a time, since kernels round differently for other batch sizes.

Legend: T tokens, N scored tokens, H hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd.models.arithmetic import set_exact_arithmetic
from kd.models.chat_engine import BadQuestionError, Completion, Question
from kd.models.grammar import TokenGrammar
from kd.models.hybrid_codec import log_softmax
from kd.models.hybrid_columns import HybridColumns
from kd.models.prompt_blocks import PromptBlocks
from kd.models.reply_writer import ReplyWriter
from kd.models.schema_grammar import GrammarError
from kd.models.student import KvCache, load_teacher
from kd.models.teacher import Capabilities, ScoredRow, ScoredTokens, ScoreRequest, ScoreRow, TeacherIdentity
from kd.models.teacher_identity import read_identity
from kd.models.tokenizer import ChatTokenizer

__all__ = ["LocalTeacher"]

_ROWS_AT_ONCE = 64
"""Distributions encoded together: bounds memory to this many rows of the vocabulary."""


class LocalTeacher:
    """The model in `folder`, ready to be asked; a `ChatEngine`."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        set_exact_arithmetic(threads)
        self._tokenizer = ChatTokenizer.load(folder)
        self._student = load_teacher(folder).eval().requires_grad_(False)
        self._blocks = PromptBlocks(self._student)
        self._grammars: dict[str, TokenGrammar] = {}
        self.identity: TeacherIdentity = read_identity(folder, self._tokenizer)
        self.capabilities = Capabilities(
            logprobs="full",
            top_k=20,
            prompt_scoring=True,
            grammar="lark",
            has_seed=True,
            max_context_tokens=self._student.architecture.max_context_tokens,
        )

    def complete(self, question: Question, on_text: Callable[[str], None] | None = None) -> Completion:
        """The reply, decoded with a cache of keys and values; BadQuestionError for a bad grammar or a prompt that is too long."""
        turns = [{"role": turn.role, "content": turn.content} for turn in question.turns]
        prompt = self._tokenizer.encode_chat(turns, add_generation_prompt=True)
        room = self._room_for(prompt)
        grammar = self._grammar(question.grammar).start() if question.grammar is not None else None
        max_tokens = min(question.sampling.max_tokens, room)
        writer = ReplyWriter(question, self._tokenizer, grammar, max_tokens=max_tokens, on_text=on_text)
        with torch.inference_mode():
            self._write(writer, prompt, max_tokens)
        return writer.completion(len(prompt))

    def score(self, request: ScoreRequest) -> ScoredTokens:
        """Distributions over the targets of each row, computed row by row: a row's bytes do not depend on its neighbours."""
        with torch.inference_mode():
            return ScoredTokens(rows=tuple(self._score_row(row, request) for row in request.rows))

    def token_text(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""
        return self._tokenizer.token_bytes(token_id)

    def _write(self, writer: ReplyWriter, prompt: Sequence[int], max_tokens: int) -> None:
        cache = KvCache.empty(self._student.architecture, 1, len(prompt) + max_tokens)
        log_probs_TV = self._log_probs(self._blocks.read(prompt, cache, len(prompt) - 1))
        while tokens := writer.next_tokens(log_probs_TV[-1]):
            if len(tokens) == 1:
                writer.take(tokens, log_probs_TV[-1:])
                if writer.has_ended:
                    return
                log_probs_TV = self._extend(tokens, cache)
            else:
                before_1V = log_probs_TV[-1:]
                log_probs_TV = self._extend(tokens, cache)
                writer.take(tokens, np.concatenate([before_1V, log_probs_TV[:-1]]))

    def _extend(self, tokens: Sequence[int], cache: KvCache) -> NDArray[np.float64]:
        return self._log_probs(self._student(torch.tensor([tokens]), cache=cache).hidden_BTH[0])

    def _log_probs(self, hidden_TH: Tensor) -> NDArray[np.float64]:
        return log_softmax(self._student.logits(hidden_TH).numpy())

    def _score_row(self, row: ScoreRow, request: ScoreRequest) -> ScoredRow:
        self._room_for(row.ids)
        if min(row.ids) < 0 or max(row.ids) >= self._tokenizer.vocab_size:
            raise BadQuestionError(
                f"Row {row.record_id!r} has ids outside 0 to {self._tokenizer.vocab_size - 1}: use this teacher's tokenizer."
            )
        read, first = row.ids[: row.targets[-1]], row.targets[0] - 1
        hidden_TH = self._blocks.read(read, KvCache.empty(self._student.architecture, 1, len(read)), first)
        allowed_NV = self._allowed(row)
        parts = []
        for start in range(0, len(row.targets), _ROWS_AT_ONCE):
            places = row.targets[start : start + _ROWS_AT_ONCE]
            logits_NV = self._student.logits(hidden_TH[[place - 1 - first for place in places]]).numpy()
            if allowed_NV is not None:
                logits_NV = np.where(allowed_NV[start : start + len(places)], logits_NV, -np.inf)
            chosen_ids = [row.ids[place] for place in places]
            parts.append(
                HybridColumns.encode(
                    logits_NV,
                    chosen_ids=chosen_ids,
                    record_id=row.record_id,
                    places=places,
                    k=request.k,
                    s=request.s,
                    seed=request.seed,
                )
            )
        return ScoredRow(record_id=row.record_id, columns=HybridColumns.joined(parts))

    def _allowed(self, row: ScoreRow) -> NDArray[np.bool_] | None:
        """What the row's grammar allows at each target, `[N, V]`."""
        if row.grammar is None:
            return None
        state = self._grammar(row.grammar).start()
        masks = []
        try:
            for place in row.targets:
                masks.append(state.mask())
                state.advance(row.ids[place])
        except GrammarError as error:
            raise BadQuestionError(f"The targets of row {row.record_id!r} do not fit its grammar: {error}") from error
        return np.stack(masks)

    def _grammar(self, text: str) -> TokenGrammar:
        """The compiled grammar; the last one is kept, since its reply is often scored next."""
        if text not in self._grammars:
            try:
                compiled = TokenGrammar(self._tokenizer, text)
            except GrammarError as error:
                raise BadQuestionError(str(error)) from error
            self._grammars = {text: compiled}
        return self._grammars[text]

    def _room_for(self, ids: Sequence[int]) -> int:
        """Tokens that still fit after `ids`."""
        limit = self._student.architecture.max_context_tokens
        if len(ids) >= limit:
            raise BadQuestionError(f"The context length is {limit} tokens, the input has {len(ids)}: shorten it.")
        return limit - len(ids)
