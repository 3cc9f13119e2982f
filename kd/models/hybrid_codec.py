"""A distribution over the vocabulary in a few bytes, unbiased: E[what is decoded] is what was encoded.

The k most probable ids keep their probabilities in 8 bits, rounded to one of two neighbours at random so that the mean is
exact; of the rest S ids are drawn in proportion to their probability and share its mass τ:

    p̂ = Σ_head p̃(v)·δ_v + (τ/S)·Σ_s δ_{j_s},   E[p̂] = p

The random numbers of a position are those of a Philox counter keyed by (seed, record, position), so any subset of the
positions is encoded to the same bytes in any order.

Legend: N positions, V vocabulary, K head ids, S tail draws.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["EMPTY_CODE", "Float64", "decode_probs", "draw_tail", "encode_probs", "head_of", "log_softmax", "uniforms"]

EMPTY_CODE = 255
"""The code of probability zero."""

Float64 = NDArray[np.float64]

_STEPS = 16
"""Code c stands for exp(-c/16)."""
_VALUES = np.append(np.exp(-np.arange(EMPTY_CODE, dtype=np.float64) / _STEPS), 0.0)
"""The probability of each code, falling; the last is zero."""


def uniforms(seed: int, record_id: str, places: Sequence[int], count: int) -> Float64:
    """`count` numbers in [0, 1) for each of `places`, `[N, count]`, a function of (seed, record, place) alone."""
    rows = []
    for place in places:
        key = hashlib.sha256(json.dumps(["kd.draws/1", seed, record_id, place]).encode()).digest()
        rows.append(np.random.Philox(key=int.from_bytes(key[:16], "big")).random_raw(count))
    top_bits = np.asarray(rows, dtype=np.uint64).reshape(len(rows), count) >> np.uint64(11)
    return top_bits.astype(np.float64) * 2.0**-53


def log_softmax(logits_NV: NDArray[np.floating]) -> Float64:
    """Log-probabilities in float64; -inf stays -inf."""
    shifted_NV: Float64 = logits_NV.astype(np.float64)
    shifted_NV -= shifted_NV.max(axis=1, keepdims=True)
    shifted_NV -= np.log(np.exp(shifted_NV).sum(axis=1, keepdims=True))
    return shifted_NV


def head_of(probs_NV: Float64, k: int) -> NDArray[np.int64]:
    """Ids of the `k` largest probabilities, largest first, the lower id first among equals."""
    candidates_NK = np.argpartition(-probs_NV, k - 1, axis=1)[:, :k]
    values_NK = np.take_along_axis(probs_NV, candidates_NK, axis=1)
    return np.take_along_axis(candidates_NK, np.lexsort((candidates_NK, -values_NK), axis=1), axis=1).astype(np.int64)


def encode_probs(probs: Float64, uniform: Float64) -> NDArray[np.uint8]:
    """A code for each probability: the upper of its two neighbours with the chance that makes the mean exact."""
    with np.errstate(divide="ignore"):
        steps = np.minimum(-_STEPS * np.log(probs), EMPTY_CODE)
    upper = np.clip(np.floor(steps), 0, EMPTY_CODE - 1).astype(np.int64)
    # The logarithm is rounded: make sure of values[upper + 1] <= p <= values[upper].
    upper = np.where(probs > _VALUES[upper], np.maximum(upper - 1, 0), upper)
    upper = np.where(probs < _VALUES[upper + 1], np.minimum(upper + 1, EMPTY_CODE - 1), upper)
    above, below = _VALUES[upper], _VALUES[upper + 1]
    return np.where(uniform < (probs - below) / (above - below), upper, upper + 1).astype(np.uint8)


def decode_probs(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probability that each code stands for."""
    return _VALUES[codes].astype(np.float32)


def draw_tail(probs_NV: Float64, head_ids_NK: NDArray[np.int64], uniform_NS: Float64) -> tuple[NDArray[np.int64], Float64]:
    """Ids drawn from what the head leaves, `[N, S]`, and its mass `[N]`; ids are 0 where no mass is left."""
    rest_NV = probs_NV.copy()
    np.put_along_axis(rest_NV, head_ids_NK, 0.0, axis=1)
    sums_NV = np.cumsum(rest_NV, axis=1)
    mass_N = sums_NV[:, -1]
    ids_NS = np.zeros(uniform_NS.shape, dtype=np.int64)
    for row, mass in enumerate(mass_N):
        if mass > 0.0:
            aims_S = np.minimum(uniform_NS[row] * mass, np.nextafter(mass, 0.0))
            ids_NS[row] = np.searchsorted(sums_NV[row], aims_S, side="right")
    return ids_NS, mass_N
