"""What is evaluated: each arm of a suite takes a held-out sample and gives an answer with its scores.

Legend: B batch (1 here), T tokens, H hidden width, N supervised tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from attrs import define, frozen
from numpy.typing import NDArray

from kd.dataset.sample import Sample
from kd.evaluation.call_scores import score_answer
from kd.evaluation.config import SpeedConfig, ToolUseConfig
from kd.evaluation.events import Outcome, Score
from kd.evaluation.signal_scores import TokenScores, score_model, score_teacher, totals
from kd.models.grammar import TokenGrammar, tool_call_grammar
from kd.models.logit_store import SignalStore
from kd.models.rendering import TokenisedSample, tokenise_sample
from kd.models.student import Student
from kd.models.teacher import Sampling
from kd.models.tokenizer import ChatTokenizer
from kd.runtime.engine import Engine
from kd.runtime.generate import GenerationRecord, NotFiniteError, PromptTooLongError, generate

__all__ = ["Answer", "Arm", "ModelLikelihood", "Speed", "TeacherLikelihood", "ToolUse"]


@frozen(kw_only=True)
class Answer:
    """What an arm made of one sample."""

    outcome: Outcome
    scores: tuple[Score, ...] = ()
    transcript: Mapping[str, Any]
    """JSON values: what the scores were computed from."""


class Arm(Protocol):
    """Something that answers samples."""

    def answer(self, sample: Sample, item_id: str) -> Answer: ...


@frozen(kw_only=True, eq=False)
class ModelLikelihood:
    """A model in torch, held against the recorded answers and the teacher's distributions."""

    student: Student
    tokenizer: ChatTokenizer
    store: SignalStore

    def answer(self, sample: Sample, item_id: str) -> Answer:
        tokenised = tokenise_sample(self.tokenizer, sample)
        if len(tokenised.ids) > self.student.architecture.max_context_tokens:
            return Answer(outcome="too_long", transcript={"num_tokens": len(tokenised.ids)})
        rows = self.store.row(sample.id, tokenised.ids)
        targets_N = np.array([tokenised.ids[place] for place in tokenised.supervised_positions], dtype=np.int64)
        return _likelihood(score_model(self._logits(tokenised), targets_N, rows))

    def _logits(self, tokenised: TokenisedSample) -> NDArray[np.float32]:
        """Logits `[N, V]` before each supervised token."""
        places_N = torch.tensor(tokenised.supervised_positions) - 1
        with torch.inference_mode():
            hidden_BTH = self.student(torch.tensor([tokenised.ids])).hidden_BTH
            logits_BNV = self.student.logits(hidden_BTH[:, places_N])
        return np.asarray(logits_BNV[0].numpy(), dtype=np.float32)


@frozen(kw_only=True, eq=False)
class TeacherLikelihood:
    """The teacher, as its distributions were recorded when it taught."""

    tokenizer: ChatTokenizer
    store: SignalStore

    def answer(self, sample: Sample, item_id: str) -> Answer:
        return _likelihood(score_teacher(self.store.row(sample.id, tokenise_sample(self.tokenizer, sample).ids)))


@frozen(kw_only=True, eq=False)
class ToolUse:
    """An engine that decodes greedily, held to a grammar or not."""

    engine: Engine
    tokenizer: ChatTokenizer
    config: ToolUseConfig
    is_constrained: bool

    def answer(self, sample: Sample, item_id: str) -> Answer:
        text = self._grammar_text(sample)
        try:
            record = generate(
                self.engine,
                self.tokenizer,
                self.tokenizer.encode_chat(sample.chat, add_generation_prompt=True),
                sampling=Sampling(temperature=0.0, max_tokens=self.config.max_new_tokens),
                grammar=None if text is None else TokenGrammar(self.tokenizer, text).start(),
                request_id=item_id,
            )
        except PromptTooLongError as error:
            return Answer(outcome="too_long", scores=score_answer("", sample), transcript={"error": str(error)})
        except NotFiniteError as error:
            return Answer(outcome="not_finite", scores=score_answer("", sample), transcript={"error": str(error)})
        return Answer(
            outcome="truncated" if record.finish.startswith("length") else "completed",
            scores=score_answer(record.text, sample),
            transcript={
                "text": record.text,
                "output_ids": record.output_ids,
                "finish": record.finish,
                "grammar": text,
                "num_prompt_tokens": record.num_prompt_tokens,
                "num_forced_tokens": record.num_forced_tokens,
            },
        )

    def _grammar_text(self, sample: Sample) -> str | None:
        if not self.is_constrained:
            return None
        return tool_call_grammar(sample.tools, mode=self.config.grammar, context=sample.messages[-1].content)


@define(kw_only=True, eq=False)
class Speed:
    """An engine that decodes a fixed number of tokens, one request at a time, after requests that warm it up."""

    engine: Engine
    tokenizer: ChatTokenizer
    config: SpeedConfig
    is_warm: bool = False

    def answer(self, sample: Sample, item_id: str) -> Answer:
        prompt_ids = self.tokenizer.encode_chat(sample.chat, add_generation_prompt=True)
        try:
            self._warm_up(prompt_ids)
            record = self._decode(prompt_ids)
        except PromptTooLongError as error:
            return Answer(outcome="too_long", transcript={"error": str(error)})
        except NotFiniteError as error:
            return Answer(outcome="not_finite", transcript={"error": str(error)})
        times = [time - record.request_ns for time in record.token_ns]
        return Answer(
            outcome="completed",
            scores=(
                Score(name="ttft_ns", total=float(times[0])),
                Score(name="decode_ns", total=float(times[-1] - times[0]), count=len(times) - 1),
            ),
            transcript={
                "engine": record.engine.kind,
                "engine_version": record.engine.version,
                "threads": record.engine.threads,
                "num_warm_ups": self.config.num_warm_ups,
                "num_prompt_tokens": record.num_prompt_tokens,
                "prefilled_ns": record.prefilled_ns - record.request_ns,
                "token_ns": times,
            },
        )

    def _warm_up(self, prompt_ids: list[int]) -> None:
        for _ in range(0 if self.is_warm else self.config.num_warm_ups):
            self._decode(prompt_ids)
        self.is_warm = True

    def _decode(self, prompt_ids: list[int]) -> GenerationRecord:
        sampling = Sampling(temperature=0.0, max_tokens=self.config.num_new_tokens)
        return generate(self.engine, self.tokenizer, prompt_ids, sampling=sampling, stops_at_eos=False)


def _likelihood(scores: TokenScores) -> Answer:
    sums = totals(scores)
    if sums is None:
        return Answer(outcome="not_finite", transcript={"num_tokens": len(scores.nll_N)})
    transcript: dict[str, Any] = {"nll_nats": scores.nll_N.tolist(), "is_forced": (~scores.is_free_N).tolist()}
    if scores.kl_N is not None and scores.agrees_N is not None:
        transcript |= {"kl_nats": scores.kl_N.tolist(), "agrees": scores.agrees_N.tolist()}
    return Answer(outcome="completed", scores=sums, transcript=transcript)
