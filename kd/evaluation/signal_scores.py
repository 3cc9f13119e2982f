"""Holding a model's logits against the tokens that stand there and against the teacher's stored distributions.

    KL(p || q) = E[cross-entropy of p̂ against q] - entropy of p     unbiased, as the stored p̂ has mean p

Positions where the grammar allowed one token alone count for the likelihood but not for the divergence: the teacher had no choice.

Legend: N supervised tokens, V vocabulary, K head ids, S tail draws.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from kd.evaluation.events import Score
from kd.models.logit_store import SparseRows

__all__ = ["TokenScores", "score_model", "score_teacher", "totals"]

_Float64 = NDArray[np.float64]

_NUM_ROWS_AT_ONCE = 64


@frozen(kw_only=True, eq=False)
class TokenScores:
    """One row a supervised token."""

    nll_N: _Float64
    """Negative log-probability of the token that stands there, in nats."""
    is_free_N: NDArray[np.bool_]
    """The teacher had a choice."""
    kl_N: _Float64 | None = None
    """KL(teacher || model) in nats, an estimate that may be negative; None for the teacher itself."""
    agrees_N: NDArray[np.bool_] | None = None
    """The model and the teacher prefer the same token."""


def score_model(logits_NV: NDArray[np.float32], target_ids_N: NDArray[np.int64], rows: SparseRows) -> TokenScores:
    """Scores of a model whose logits before each supervised token are `logits_NV`."""
    normaliser_N1 = _log_sum_exp(logits_NV)
    head_NK = np.take_along_axis(logits_NV, rows.head_ids_NK, axis=1) - normaliser_N1
    tail_NS = np.take_along_axis(logits_NV, rows.tail_ids_NS, axis=1) - normaliser_N1
    tail_mass_N = rows.tail_mass_N.astype(np.float64)
    cross_entropy_N = -(rows.head_probs_NK.astype(np.float64) * head_NK).sum(axis=1) - tail_mass_N * tail_NS.mean(axis=1)
    return TokenScores(
        nll_N=(normaliser_N1 - np.take_along_axis(logits_NV, target_ids_N[:, None], axis=1))[:, 0],
        is_free_N=~rows.is_forced_N,
        kl_N=cross_entropy_N - rows.entropy_N.astype(np.float64),
        agrees_N=logits_NV.argmax(axis=1) == rows.head_ids_NK[:, 0],
    )


def score_teacher(rows: SparseRows) -> TokenScores:
    """Scores of the teacher by its own stored log-probabilities, which a grammar may have renormalised."""
    return TokenScores(nll_N=-rows.chosen_logprob_N.astype(np.float64), is_free_N=~rows.is_forced_N)


def totals(scores: TokenScores) -> tuple[Score, ...] | None:
    """Sums over one item, or None if a number is not finite."""
    found = [Score(name="nll_nats", total=float(scores.nll_N.sum()), count=len(scores.nll_N))]
    if scores.kl_N is not None and scores.agrees_N is not None:
        count = int(scores.is_free_N.sum())
        found.append(Score(name="kl_nats", total=float(scores.kl_N[scores.is_free_N].sum()), count=count))
        found.append(Score(name="top1_agreement", total=float(scores.agrees_N[scores.is_free_N].sum()), count=count))
    return tuple(found) if all(np.isfinite(score.total) for score in found) else None


def _log_sum_exp(logits_NV: NDArray[np.float32]) -> _Float64:
    """The normaliser of each row, `[N, 1]` in float64, without a copy of the whole matrix in float64."""
    parts = [np.zeros((0, 1))]
    for start in range(0, len(logits_NV), _NUM_ROWS_AT_ONCE):
        part_NV = logits_NV[start : start + _NUM_ROWS_AT_ONCE].astype(np.float64)
        top_N1 = part_NV.max(axis=1, keepdims=True)
        parts.append(top_N1 + np.log(np.exp(part_NV - top_N1).sum(axis=1, keepdims=True)))
    return np.concatenate(parts)
