"""Encoded teacher distributions as columns, one row a supervised token, and the safetensors bytes that carry them.

Legend: N supervised tokens, V vocabulary, K head ids, S tail draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from safetensors.numpy import save

from kd.errors import UsageError
from kd.models import hybrid_codec as codec

__all__ = [
    "MAX_VOCAB_SIZE",
    "Arrays",
    "HybridColumns",
    "SparseRows",
    "check_vocab_size",
    "columns_from_bytes",
    "columns_to_bytes",
    "pack_columns",
    "parse_arrays",
    "unpack_columns",
]

MAX_VOCAB_SIZE = 65_536
_COLUMNS = {
    "head_ids": np.uint16,
    "head_codes": np.uint8,
    "tail_ids": np.uint16,
    "tail_mass": np.float16,
    "entropy": np.float16,
    "chosen_logprob": np.float16,
    "is_forced": np.uint8,
}
_DTYPES = {"I64": np.int64, "F16": np.float16, "U16": np.uint16, "U8": np.uint8}

Arrays = dict[str, NDArray[Any]]


@frozen(kw_only=True, eq=False)
class SparseRows:
    """Decoded distributions: p̂ = Σ_K head_probs·δ(head_ids) + (tail_mass/S)·Σ_S δ(tail_ids)."""

    head_ids_NK: NDArray[np.int64]
    head_probs_NK: NDArray[np.float32]
    """Zero where fewer than K ids had any probability."""
    tail_ids_NS: NDArray[np.int64]
    tail_mass_N: NDArray[np.float32]
    entropy_N: NDArray[np.float32]
    """Of the whole distribution, in nats."""
    chosen_logprob_N: NDArray[np.float32]
    """Of the token that stands there, in nats."""
    is_forced_N: NDArray[np.bool_]
    """The grammar allowed one token alone: there is nothing to imitate."""


@frozen(kw_only=True, eq=False)
class HybridColumns:
    """Encoded distributions, one row a supervised token."""

    head_ids: NDArray[np.uint16]
    head_codes: NDArray[np.uint8]
    tail_ids: NDArray[np.uint16]
    tail_mass: NDArray[np.float16]
    entropy: NDArray[np.float16]
    chosen_logprob: NDArray[np.float16]
    is_forced: NDArray[np.uint8]
    """0 or 1; eight to a byte in a file."""

    @classmethod
    def encode(
        cls,
        logits_NV: NDArray[np.floating],
        *,
        chosen_ids: Sequence[int],
        record_id: str,
        places: Sequence[int],
        k: int,
        s: int,
        seed: int,
    ) -> HybridColumns:
        """The distributions softmax(logits_NV); -inf marks what a grammar forbids. `places` key the random numbers."""
        check_vocab_size(logits_NV.shape[1])
        if k >= logits_NV.shape[1]:
            raise UsageError(f"A head of {k} ids was asked of a vocabulary of {logits_NV.shape[1]}: ask for fewer.")
        log_probs_NV = codec.log_softmax(logits_NV)
        probs_NV = np.exp(log_probs_NV)
        uniform_NU = codec.uniforms(seed, record_id, places, k + s)
        head_NK = codec.head_of(probs_NV, k)
        head_probs_NK = np.take_along_axis(probs_NV, head_NK, axis=1)
        tail_NS, mass_N = codec.draw_tail(probs_NV, head_NK, uniform_NU[:, k:])
        chosen_N = np.asarray(chosen_ids, dtype=np.int64)[:, None]
        surprise_NV = np.where(probs_NV > 0.0, log_probs_NV, 0.0)
        return cls(
            head_ids=np.where(head_probs_NK > 0.0, head_NK, 0).astype(np.uint16),
            head_codes=codec.encode_probs(head_probs_NK, uniform_NU[:, :k]),
            tail_ids=tail_NS.astype(np.uint16),
            tail_mass=mass_N.astype(np.float16),
            entropy=np.maximum(-(probs_NV * surprise_NV).sum(axis=1), 0.0).astype(np.float16),
            chosen_logprob=np.maximum(np.take_along_axis(log_probs_NV, chosen_N, axis=1)[:, 0], -65504.0).astype(np.float16),
            is_forced=(np.isfinite(logits_NV).sum(axis=1) == 1).astype(np.uint8),
        )

    @classmethod
    def joined(cls, parts: Sequence[HybridColumns]) -> HybridColumns:
        """The rows of all `parts`, one after the other."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})

    def __len__(self) -> int:
        return len(self.tail_mass)

    @property
    def bytes_per_token(self) -> int:
        """k·3 + S·2 + 6: the flag of forced tokens, one bit, is not counted."""
        return int(self.head_ids.shape[1]) * 3 + int(self.tail_ids.shape[1]) * 2 + 6

    def rows(self, start: int, end: int) -> HybridColumns:
        """Rows `start` to `end`, without a copy."""
        return HybridColumns(**{name: getattr(self, name)[start:end] for name in _COLUMNS})

    def decode(self) -> SparseRows:
        """The distributions that the columns stand for."""
        return SparseRows(
            head_ids_NK=self.head_ids.astype(np.int64),
            head_probs_NK=codec.decode_probs(self.head_codes),
            tail_ids_NS=self.tail_ids.astype(np.int64),
            tail_mass_N=self.tail_mass.astype(np.float32),
            entropy_N=self.entropy.astype(np.float32),
            chosen_logprob_N=self.chosen_logprob.astype(np.float32),
            is_forced_N=self.is_forced.astype(np.bool_),
        )


def check_vocab_size(vocab_size: int) -> None:
    """UsageError if ids of this vocabulary do not fit in 16 bits."""
    if vocab_size > MAX_VOCAB_SIZE:
        raise UsageError(
            f"The vocabulary has {vocab_size} entries, the store of teacher distributions holds ids below {MAX_VOCAB_SIZE}:"
            " choose a teacher with a smaller vocabulary."
        )


def columns_to_bytes(record_ids: Sequence[str], columns: Sequence[HybridColumns], *, k: int, s: int) -> bytes:
    """Scored rows as the body of a safetensors file."""
    return save(pack_columns(record_ids, columns, k, s))


def columns_from_bytes(data: bytes) -> tuple[tuple[str, HybridColumns], ...]:
    """The inverse of `columns_to_bytes`; ValueError or KeyError if `data` is something else."""
    arrays, _ = parse_arrays(memoryview(data))
    record_ids, columns = unpack_columns(arrays)
    offsets = arrays["row_offsets"].tolist()
    return tuple((record_id, columns.rows(start, end)) for record_id, start, end in zip(record_ids, offsets, offsets[1:]))


def pack_columns(record_ids: Sequence[str], parts: Sequence[HybridColumns], k: int, s: int) -> Arrays:
    """Arrays of a safetensors file that holds the columns of several records."""
    widths = {"head_ids": (k,), "head_codes": (k,), "tail_ids": (s,)}
    empty = HybridColumns(**{name: np.zeros((0, *widths.get(name, ())), dtype) for name, dtype in _COLUMNS.items()})
    columns = HybridColumns.joined([empty, *parts])
    arrays: Arrays = {name: getattr(columns, name) for name in _COLUMNS}
    arrays["is_forced"] = np.packbits(columns.is_forced)
    arrays["row_offsets"] = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    arrays["record_ids"] = np.frombuffer(json.dumps(list(record_ids)).encode(), dtype=np.uint8)
    return arrays


def unpack_columns(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], HybridColumns]:
    """The inverse of `pack_columns`: ids of the records, and all columns; ValueError if the arrays do not fit together."""
    num_tokens = len(arrays["tail_mass"])
    columns = {name: arrays[name] for name in _COLUMNS}
    columns["is_forced"] = np.unpackbits(arrays["is_forced"], count=num_tokens)
    wrong = [name for name, dtype in _COLUMNS.items() if columns[name].dtype != dtype or len(columns[name]) != num_tokens]
    record_ids = tuple(json.loads(arrays["record_ids"].tobytes()))
    if wrong or len(arrays["row_offsets"]) != len(record_ids) + 1 or arrays["row_offsets"][-1] != num_tokens:
        raise ValueError(f"columns do not fit together: {wrong or 'row_offsets'}")
    return record_ids, HybridColumns(**columns)


def parse_arrays(data: memoryview) -> tuple[Arrays, dict[str, str]]:
    """Arrays that share the memory of a safetensors file, and its metadata."""
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise ValueError("the file is torn")
    entries = json.loads(bytes(data[8:start]))
    metadata = entries.pop("__metadata__", {})
    arrays: Arrays = {}
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        if start + last > len(data):
            raise ValueError("the file is torn")
        arrays[name] = np.frombuffer(data[start + first : start + last], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata
