"""Trying the scorers on answers whose score is known, so that a broken scorer stops the run instead of flattering a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from kd.dataset.sample import Sample
from kd.dataset.tools import ToolCall, call_text
from kd.errors import StageError
from kd.evaluation.call_scores import score_answer
from kd.evaluation.signal_scores import score_model, totals
from kd.evaluation.statistics import wilson_interval
from kd.models.logit_store import SparseRows

__all__ = ["check_scorers"]

_NAMES = ("call_validity", "tool_name_accuracy", "right_call")


def check_scorers(samples: Sequence[Sample]) -> int:
    """The number of checks made, some on the gold calls of `samples`; StageError names the first that failed."""
    num_checks = 0
    for sample in samples:
        for name, answer, expected in _answers(sample):
            _require(f"{name} of {sample.id}", _flags(answer, sample), expected)
            num_checks += 1
    for name, check, expected_value in _NUMBERS:
        _require(name, round(check(), 6), expected_value)
        num_checks += 1
    return num_checks


def _answers(sample: Sample) -> list[tuple[str, str, tuple[float, ...]]]:
    """Name, answer, and what validity, tool name and right call must be."""
    gold = sample.gold_calls
    verbatim = "\n".join(call_text(call) for call in gold)
    unknown = ToolCall(name="no_such_tool", arguments=gold[0].arguments)
    meddled = ToolCall(name=gold[0].name, arguments={**gold[0].arguments, "no_such_argument": 1})
    return [
        ("the gold call", verbatim, (1.0, 1.0, 1.0)),
        ("the gold call in a sentence", f"Here it is: {verbatim} Done.", (1.0, 1.0, 1.0)),
        ("silence", "", (0.0, 0.0, 0.0)),
        ("the prompt said again", sample.messages[-1].content, (0.0, 0.0, 0.0)),
        ("a cut call", verbatim[:-1], (0.0, 0.0, 0.0)),
        ("a call said twice", f"{verbatim}\n{verbatim}", (1.0, 0.0, 0.0)),
        ("an unknown tool", json.dumps({"name": unknown.name, "arguments": unknown.arguments}), (0.0, 0.0, 0.0)),
        ("an unknown argument", call_text(meddled), (0.0, 1.0 if len(gold) == 1 else 0.0, 0.0)),
    ]


def _flags(answer: str, sample: Sample) -> tuple[float, ...]:
    scores = {score.name: score.total for score in score_answer(answer, sample)}
    return tuple(scores[name] for name in _NAMES)


def _kl_of_equal_distributions() -> float:
    """A model whose distribution is the teacher's, half of it in the head and half in the tail."""
    logits_NV = np.log(np.array([[0.5, 0.25, 0.25]], dtype=np.float32))
    return _total("kl_nats", logits_NV)


def _nll_of_a_quarter() -> float:
    return _total("nll_nats", np.log(np.array([[0.5, 0.25, 0.25]], dtype=np.float32)))


def _kl_of_a_flat_model() -> float:
    return _total("kl_nats", np.zeros((1, 3), dtype=np.float32))


def _total(name: str, logits_NV: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    rows = SparseRows(
        head_ids_NK=np.array([[0]]),
        head_probs_NK=np.array([[0.5]], dtype=np.float32),
        tail_ids_NS=np.array([[1, 2]]),
        tail_mass_N=np.array([0.5], dtype=np.float32),
        entropy_N=np.array([1.5 * np.log(2.0)], dtype=np.float32),
        chosen_logprob_N=np.array([np.log(0.25)], dtype=np.float32),
        is_forced_N=np.array([False]),
    )
    scores = totals(score_model(logits_NV, np.array([1]), rows)) or ()
    return next(score.total for score in scores if score.name == name)


_NUMBERS: tuple[tuple[str, Callable[[], float], float], ...] = (
    ("the divergence of equal distributions", _kl_of_equal_distributions, 0.0),
    ("the divergence of a flat model", _kl_of_a_flat_model, round(float(np.log(3.0) - 1.5 * np.log(2.0)), 6)),
    ("the likelihood of a quarter", _nll_of_a_quarter, round(float(2.0 * np.log(2.0)), 6)),
    ("the lower end of no success in ten", lambda: wilson_interval(0, 10)[0], 0.0),
    ("the upper end of ten successes in ten", lambda: wilson_interval(10, 10)[1], 1.0),
)


def _require(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise StageError("self_test", f"The scorers gave {name} {found}, expected {expected}: they are broken.", is_retryable=False)
