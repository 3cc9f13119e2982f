"""What a host hands to a program of an export: padded ids, rotation tables, additive mask, padded past.

Unused slots lie left, in queries as in the past, and the mask hides them; a padded query sees itself, so that no row of
the mask is closed. Free of torch, for every engine.

Legend: T queries, P past slots, S = P + T keys, R rows of the key-value pack, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from kd.models.architecture import Architecture
from kd.models.contract import FunctionSpec

__all__ = ["Float32", "Past", "Rotation", "program_inputs", "valid_rows"]

Float32 = NDArray[np.float32]


@frozen(kw_only=True, eq=False)
class Rotation:
    """Cosines and sines of all positions, each `[positions, D]`; `kd.models.rope` makes them."""

    cos: Float32
    sin: Float32


@frozen(kw_only=True, eq=False)
class Past:
    """Keys (rotated) and values of the tokens so far, each `[1, R, tokens, D]`."""

    k: Float32
    v: Float32

    @classmethod
    def empty(cls, architecture: Architecture) -> Past:
        """No tokens."""
        nothing = np.zeros((1, architecture.num_layers * architecture.num_kv_heads, 0, architecture.head_dim), dtype=np.float32)
        return cls(k=nothing, v=nothing)

    @property
    def num_tokens(self) -> int:
        return int(self.k.shape[2])

    def first(self, num_tokens: int) -> Past:
        """Only the first `num_tokens` tokens."""
        return Past(k=self.k[:, :, :num_tokens], v=self.v[:, :, :num_tokens])


def program_inputs(
    function: FunctionSpec, rotation: Rotation, ids: Sequence[int], past: Past, *, pad_id: int = 0
) -> dict[str, NDArray[Any]]:
    """The inputs of `function` for `ids`, which follow `past`; ValueError if they do not fit into its shapes."""
    num_queries = function.num_queries if function.num_queries is not None else len(ids)
    num_slots = function.num_past if function.num_past is not None else past.num_tokens
    if not 1 <= len(ids) <= num_queries or past.num_tokens > num_slots:
        raise ValueError(
            f"{function.name} takes 1 to {num_queries} tokens over at most {num_slots} past tokens, got {len(ids)} over {past.num_tokens}."
        )
    num_pad = num_queries - len(ids)
    positions = np.concatenate((np.zeros(num_pad, dtype=np.int64), np.arange(past.num_tokens, past.num_tokens + len(ids))))
    values: dict[str, NDArray[Any]] = {
        "ids": np.asarray([[pad_id] * num_pad + list(ids)], dtype=np.int32),
        "cos": rotation.cos[positions][None, None],
        "sin": rotation.sin[positions][None, None],
        "mask": _mask(function, num_queries, num_slots, num_pad, past.num_tokens),
        "past_k": _padded(past.k, num_slots),
        "past_v": _padded(past.v, num_slots),
    }
    return {spec.name: values[spec.name] for spec in function.inputs}


def valid_rows(function: FunctionSpec, num_ids: int) -> slice:
    """The query rows of an output that belong to tokens and not to padding; a prefill gives logits of the last row alone."""
    num_queries = function.num_queries if function.num_queries is not None else num_ids
    return slice(num_queries - num_ids, num_queries)


def _mask(function: FunctionSpec, num_queries: int, num_slots: int, num_pad: int, num_past: int) -> Float32:
    query_T1 = np.arange(num_queries)[:, None]
    key_1T = np.arange(num_queries)[None, :]
    sees_new_TT = ((key_1T >= num_pad) & (key_1T <= query_T1)) | (key_1T == query_T1)
    sees_past_TP = np.broadcast_to(np.arange(num_slots)[None, :] >= num_slots - num_past, (num_queries, num_slots))
    is_seen_TS = np.concatenate((sees_past_TP, sees_new_TT), axis=1)
    return np.where(is_seen_TS, np.float32(0), np.float32(function.mask_value))[None, None]


def _padded(kept_1RPD: Float32, num_slots: int) -> Float32:
    missing = num_slots - kept_1RPD.shape[2]
    return np.ascontiguousarray(np.pad(kept_1RPD, ((0, 0), (0, 0), (missing, 0), (0, 0))))
