"""The sequences that a function is run on, laid out as its inputs.

Unused slots lie on the left, of the queries and of the past; the mask hides them, and a padded query sees itself so that
no row is masked wholly.

Legend: T queries, P past slots, S = P + T keys, N rows of the key-value pack, D head dimension, n real tokens.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from attrs import frozen

from kd.models.contract import Contract, FunctionSpec
from kd.models.parity import MIN_POSITIONS
from kd.models.rope import rotary_tables

__all__ = ["Array", "Inputs", "KeyValues", "Probe", "make_probes", "probe_inputs", "seeded", "shift_positions"]

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]

_ORDINARY: Final = 16
"""Ids from here on are drawn; below lie the special tokens, which have a probe of their own."""


@frozen(kw_only=True)
class Probe:
    """One sequence of token ids."""

    name: str
    ids: tuple[int, ...]


@frozen(kw_only=True, eq=False)
class KeyValues:
    """Keys after rotation and values of the real tokens of one sequence, each (N, n, D)."""

    keys: Array
    values: Array


def make_probes(contract: Contract, length: int, num_sequences: int, seed: int) -> tuple[Probe, ...]:
    """Sequences of `length` tokens holding at least 512 positions, and four that are awkward: three of them need padding."""
    rng = seeded(seed, "probes", length)
    vocab = contract.arch.vocab_size
    num_full = max(num_sequences, -(-MIN_POSITIONS // length))
    full = [Probe(name=f"seeded {index}", ids=_draw(rng, vocab, length)) for index in range(num_full)]
    special = contract.special
    cycle = (special.bos, special.eos, special.pad)
    return (
        *full,
        Probe(name="one token repeated", ids=_draw(rng, vocab, 1) * length),
        Probe(name="special tokens", ids=tuple(cycle[index % 3] for index in range(length // 3 + 1))),
        Probe(name="half length", ids=_draw(rng, vocab, length // 2 + 1)),
        Probe(name="single token", ids=_draw(rng, vocab, 1)),
    )


def probe_inputs(contract: Contract, function: FunctionSpec, ids: tuple[int, ...], past: KeyValues | None) -> Inputs:
    """The inputs of `function` for the sequence `ids`, in float32; `past` holds at least the tokens before the queries."""
    num_queries, num_past = function.num_queries, function.num_past
    assert num_queries is not None
    assert num_past is not None
    num_new = min(len(ids), num_queries)
    num_old = len(ids) - num_new
    inputs = {
        "ids": _left_padded(np.array(ids[num_old:], dtype=np.int32), num_queries, contract.special.pad)[None],
        "mask": _mask(num_queries, num_past, num_new, num_old, function.mask_value),
        **_rotations(contract, num_queries, range(num_old, len(ids))),
    }
    if num_past:
        assert past is not None
        inputs["past_k"] = _past(past.keys, num_old, num_past)
        inputs["past_v"] = _past(past.values, num_old, num_past)
    return inputs


def shift_positions(contract: Contract, inputs: Inputs, first: int, ids: tuple[int, ...], by: int) -> Inputs:
    """`inputs` with the positions of the queries from slot `first` on moved by `by`."""
    num_queries = inputs["ids"].shape[1]
    num_new = min(len(ids), num_queries)
    moved = _rotations(contract, num_queries, range(len(ids) - num_new + by, len(ids) + by))
    changed = dict(inputs)
    for name in ("cos", "sin"):
        changed[name] = inputs[name].copy()
        changed[name][:, :, first:] = moved[name][:, :, first:]
    return changed


def seeded(seed: int, *purpose: object) -> np.random.Generator:
    """A generator of its own for each purpose."""
    text = "/".join(map(str, (seed, *purpose)))
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest())))


def _draw(rng: np.random.Generator, vocab: int, count: int) -> tuple[int, ...]:
    return tuple(int(token) for token in rng.integers(min(_ORDINARY, vocab - 1), vocab, size=count))


def _left_padded(values: Array, size: int, pad: int) -> Array:
    return np.concatenate((np.full(size - len(values), pad, dtype=values.dtype), values))


def _rotations(contract: Contract, num_queries: int, positions: range) -> Inputs:
    """cos and sin (1, 1, T, D); a padded query has position 0."""
    slots = _left_padded(np.array(positions, dtype=np.int64), num_queries, 0)
    tables = rotary_tables(contract.arch.head_dim, int(slots.max()) + 1, contract.arch.rope_theta)
    return {name: table.numpy()[slots][None, None] for name, table in zip(("cos", "sin"), tables)}


def _mask(num_queries: int, num_past: int, num_new: int, num_old: int, hidden: float) -> Array:
    """(1, 1, T, S): 0 where a query may look."""
    queries = np.arange(num_queries)[:, None]
    keys = np.arange(num_past + num_queries)[None, :]
    is_real_query = queries >= num_queries - num_new
    is_real_key = np.where(keys < num_past, keys >= num_past - num_old, keys >= num_past + num_queries - num_new)
    is_seen = (is_real_query & is_real_key & (keys <= num_past + queries)) | (keys == num_past + queries)
    return np.where(is_seen, 0.0, hidden).astype(np.float32)[None, None]


def _past(rows: Array, num_old: int, num_past: int) -> Array:
    """(1, N, P, D), zero where no token lies."""
    packed = np.zeros((1, rows.shape[0], num_past, rows.shape[2]), dtype=np.float32)
    packed[0, :, num_past - num_old :] = rows[:, :num_old]
    return packed
