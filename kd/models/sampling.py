"""How the next token is chosen from logits: grammar mask, temperature, top-k, top-p, one seeded number.

The number at a position is a function of (seed, request, position), so no reply depends on what was asked before it.

Legend: V vocabulary.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from kd.models.teacher import Sampling

__all__ = ["Float64", "choose_token", "uniform_at"]

Float64 = NDArray[np.float64]

_FIRST_LOOK = 512


def choose_token(log_probs_V: Float64, allowed_V: NDArray[np.bool_] | None, sampling: Sampling, key: str, position: int) -> int:
    """The next token; at temperature 0 the most probable one, the lowest id among equals."""
    masked_V = log_probs_V if allowed_V is None else np.where(allowed_V, log_probs_V, -np.inf)
    if sampling.temperature == 0.0:
        return int(np.argmax(masked_V))
    weights_V = np.exp((masked_V - masked_V.max()) / sampling.temperature)
    order, sums = _kept(weights_V, sampling)
    aim = min(uniform_at(sampling.seed, key, position) * sums[-1], np.nextafter(sums[-1], 0.0))
    return int(order[np.searchsorted(sums, aim, side="right")])


def uniform_at(seed: int, key: str, position: int) -> float:
    """A number in [0, 1), a function of its arguments alone."""
    digest = hashlib.sha256(json.dumps(["kd.sampling/1", seed, key, position]).encode()).digest()
    return float(np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).random())


def _kept(weights_V: Float64, sampling: Sampling) -> tuple[NDArray[np.int64], Float64]:
    """Ids that top-k and top-p keep, most probable first, and the running sums of their shares."""
    if sampling.top_k:
        order = _largest(weights_V, sampling.top_k)
        sums = np.cumsum(weights_V[order]) / weights_V[order].sum()
    else:
        # Few ids hold nearly all mass: look at those first, at all only where they do not reach p.
        order = _largest(weights_V, _FIRST_LOOK if sampling.top_p < 1.0 else len(weights_V))
        sums = np.cumsum(weights_V[order]) / weights_V.sum()
        if sums[-1] < sampling.top_p < 1.0:
            order = _largest(weights_V, len(weights_V))
            sums = np.cumsum(weights_V[order]) / weights_V.sum()
    num_kept = int(np.searchsorted(sums, sampling.top_p, side="left")) + 1 if sampling.top_p < 1.0 else len(sums)
    return order[:num_kept], sums[:num_kept]


def _largest(weights_V: Float64, count: int) -> NDArray[np.int64]:
    """Ids of the `count` largest weights, largest first, the lower id first among equals; none of weight zero."""
    ids = np.argpartition(-weights_V, count - 1)[:count] if count < len(weights_V) else np.arange(len(weights_V))
    ids = ids[weights_V[ids] > 0.0]
    return np.asarray(ids[np.lexsort((ids, -weights_V[ids]))], dtype=np.int64)
