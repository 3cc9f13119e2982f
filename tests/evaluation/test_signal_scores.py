"""Scores against the stored teacher distributions."""

from __future__ import annotations

import numpy as np
import pytest

from kd.evaluation.signal_scores import score_model, score_teacher, totals
from kd.models.logit_store import HybridColumns, SparseRows

VOCAB_SIZE = 40


def encoded(logits_NV: np.ndarray, *, record_id: str = "r") -> SparseRows:
    count = len(logits_NV)
    columns = HybridColumns.encode(logits_NV, chosen_ids=[0] * count, record_id=record_id, places=range(count), k=4, s=8, seed=0)
    return columns.decode()


def dense_kl(teacher_NV: np.ndarray, model_NV: np.ndarray) -> float:
    """KL(teacher || model) of the first row, in nats."""
    log_p_NV = teacher_NV - np.log(np.exp(teacher_NV).sum(axis=1, keepdims=True))
    log_q_NV = model_NV - np.log(np.exp(model_NV).sum(axis=1, keepdims=True))
    return float((np.exp(log_p_NV) * (log_p_NV - log_q_NV))[0].sum())


def test_the_divergence_is_unbiased() -> None:
    """Over many encodings of one distribution the mean estimate is the divergence of the whole distributions."""
    generator = np.random.default_rng(0)
    teacher_NV = np.repeat(generator.normal(size=(1, VOCAB_SIZE)) * 2, 4000, axis=0)
    model_NV = np.repeat(generator.normal(size=(1, VOCAB_SIZE)), 4000, axis=0).astype(np.float32)
    scores = score_model(model_NV, np.zeros(4000, dtype=np.int64), encoded(teacher_NV))
    assert scores.kl_N is not None
    error = scores.kl_N.std() / np.sqrt(4000)
    assert scores.kl_N.mean() == pytest.approx(dense_kl(teacher_NV, model_NV.astype(np.float64)), abs=4 * error + 1e-3)


def test_the_likelihood_is_that_of_a_plain_softmax() -> None:
    """The likelihood equals a float64 log-softmax at the target, for more rows than are normalised at once."""
    logits_NV = np.random.default_rng(1).normal(size=(150, VOCAB_SIZE)).astype(np.float32)
    targets_N = np.arange(150) % VOCAB_SIZE
    plain_NV = logits_NV.astype(np.float64)
    plain_NV -= np.log(np.exp(plain_NV).sum(axis=1, keepdims=True))
    found = score_model(logits_NV, targets_N, encoded(logits_NV))
    np.testing.assert_allclose(found.nll_N, -plain_NV[np.arange(150), targets_N], atol=1e-12)


def test_a_model_agrees_with_itself() -> None:
    """A model whose logits are the teacher's prefers the same tokens everywhere."""
    logits_NV = np.random.default_rng(2).normal(size=(20, VOCAB_SIZE)).astype(np.float32)
    found = totals(score_model(logits_NV, np.zeros(20, dtype=np.int64), encoded(logits_NV)))
    assert found is not None
    assert {score.name: (score.total, score.count) for score in found}["top1_agreement"] == (20.0, 20)


def test_forced_tokens_count_for_the_likelihood_alone() -> None:
    """Where a grammar left the teacher one token there is nothing to imitate, so the divergence leaves the position out."""
    teacher_NV = np.zeros((3, VOCAB_SIZE))
    teacher_NV[1, 1:] = -np.inf
    found = totals(score_model(np.zeros((3, VOCAB_SIZE), dtype=np.float32), np.zeros(3, dtype=np.int64), encoded(teacher_NV)))
    assert found is not None
    assert {score.name: score.count for score in found} == {"nll_nats": 3, "kl_nats": 2, "top1_agreement": 2}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_model_has_no_sums(bad: float) -> None:
    """NaN or infinity in the logits gives no score instead of a wrong one."""
    logits_NV = np.zeros((3, VOCAB_SIZE), dtype=np.float32)
    logits_NV[1, 5] = bad
    with np.errstate(invalid="ignore"):
        assert totals(score_model(logits_NV, np.zeros(3, dtype=np.int64), encoded(np.zeros((3, VOCAB_SIZE))))) is None


def test_the_teacher_is_scored_by_what_it_said() -> None:
    """The teacher's likelihood is its own stored log-probability, and it has no divergence from itself."""
    found = totals(score_teacher(encoded(np.zeros((2, VOCAB_SIZE)))))
    assert found is not None
    assert [score.name for score in found] == ["nll_nats"]
    assert found[0].total == pytest.approx(2 * np.log(VOCAB_SIZE), rel=1e-3)
