"""One kernel for each operation that the packages of this stage contain.

A kernel takes the operation's arguments by name, floats in float32, and gives its outputs before rounding. Movement and
elementwise arithmetic are numpy, contractions are torch. An argument form that no package here has is a ValueError that
says so, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch

from kd.conversion.mil.values import Array

__all__ = ["KERNELS", "MOVEMENT", "Arguments", "Kernel"]

Arguments = Mapping[str, Any]
Kernel = Callable[[Arguments], tuple[Array, ...]]


def _abs(a: Arguments) -> tuple[Array, ...]:
    return (np.abs(a["x"]),)


def _add(a: Arguments) -> tuple[Array, ...]:
    return (np.add(a["x"], a["y"]),)


def _mul(a: Arguments) -> tuple[Array, ...]:
    return (np.multiply(a["x"], a["y"]),)


def _maximum(a: Arguments) -> tuple[Array, ...]:
    return (np.maximum(a["x"], a["y"]),)


def _real_div(a: Arguments) -> tuple[Array, ...]:
    return (np.divide(a["x"], a["y"]),)


def _pow(a: Arguments) -> tuple[Array, ...]:
    return (np.power(a["x"], a["y"]),)


def _rsqrt(a: Arguments) -> tuple[Array, ...]:
    return (np.float32(1.0) / np.sqrt(a["x"] + a["epsilon"]),)


def _silu(a: Arguments) -> tuple[Array, ...]:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and x / inf is the right 0
        return (a["x"] / (np.float32(1.0) + np.exp(-a["x"])),)


def _reduce_max(a: Arguments) -> tuple[Array, ...]:
    return (np.asarray(np.max(a["x"], axis=_ints(a["axes"]), keepdims=bool(a["keep_dims"]))),)


def _reduce_mean(a: Arguments) -> tuple[Array, ...]:
    return (np.asarray(np.mean(a["x"], axis=_ints(a["axes"]), keepdims=bool(a["keep_dims"]), dtype=np.float32)),)


def _linear(a: Arguments) -> tuple[Array, ...]:
    bias = _torch(a["bias"]) if "bias" in a else None
    return (torch.nn.functional.linear(_torch(a["x"]), _torch(a["weight"]), bias).numpy(),)


def _attention(a: Arguments) -> tuple[Array, ...]:
    query, key, value = _torch(a["query"]), _torch(a["key"]), _torch(a["value"])
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if "attn_mask" in a:
        if a["attn_mask"].dtype == np.bool_:
            raise ValueError("with a boolean mask")
        scores = scores + _torch(a["attn_mask"])
    return ((torch.softmax(scores, dim=-1) @ value).numpy(),)


def _gather(a: Arguments) -> tuple[Array, ...]:
    if int(a.get("batch_dims", 0)) != 0:
        raise ValueError("with batch dimensions")
    return (np.take(a["x"], a["indices"], axis=int(a.get("axis", 0))),)


def _reshape(a: Arguments) -> tuple[Array, ...]:
    return (np.reshape(a["x"], _ints(a["shape"])),)


def _transpose(a: Arguments) -> tuple[Array, ...]:
    return (np.ascontiguousarray(np.transpose(a["x"], _ints(a["perm"]))),)


def _concat(a: Arguments) -> tuple[Array, ...]:
    if bool(a.get("interleave", False)):
        raise ValueError("with interleaving")
    return (np.concatenate(a["values"], axis=int(a["axis"])),)


def _split(a: Arguments) -> tuple[Array, ...]:
    axis = int(a["axis"])
    if "split_sizes" in a:
        return tuple(np.split(a["x"], np.cumsum(a["split_sizes"])[:-1], axis=axis))
    return tuple(np.split(a["x"], int(a["num_splits"]), axis=axis))


def _slice_by_index(a: Arguments) -> tuple[Array, ...]:
    x = a["x"]
    if bool(np.any(a.get("squeeze_mask", False))):
        raise ValueError("with a squeeze mask")
    strides = _ints(a["stride"]) if "stride" in a else (1,) * x.ndim
    if min(strides) < 1:
        raise ValueError("with a stride below 1")
    begins = _masked(_ints(a["begin"]), a.get("begin_mask"))
    ends = _masked(_ints(a["end"]), a.get("end_mask"))
    return (x[tuple(slice(begin, end, stride) for begin, end, stride in zip(begins, ends, strides))],)


def _blockwise_shift_scale(a: Arguments) -> tuple[Array, ...]:
    data, scale = a["data"], a["scale"]
    if "offset" in a:
        raise ValueError("with an offset")
    if scale.ndim != data.ndim or scale.shape[0] != data.shape[0] or any(size != 1 for size in scale.shape[1:]):
        raise ValueError(f"with scales of shape {scale.shape}")
    return (data.astype(np.float32) * scale,)


def _masked(indices: tuple[int, ...], mask: Array | None) -> tuple[int | None, ...]:
    """Where the mask is true the slice reaches to the border."""
    if mask is None:
        return indices
    return tuple(None if is_open else index for index, is_open in zip(indices, mask))


def _ints(values: Array) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _torch(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


KERNELS: Final[Mapping[str, Kernel]] = {
    "abs": _abs,
    "add": _add,
    "concat": _concat,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "gather": _gather,
    "linear": _linear,
    "maximum": _maximum,
    "mul": _mul,
    "pow": _pow,
    "real_div": _real_div,
    "reduce_max": _reduce_max,
    "reduce_mean": _reduce_mean,
    "reshape": _reshape,
    "rsqrt": _rsqrt,
    "scaled_dot_product_attention": _attention,
    "silu": _silu,
    "slice_by_index": _slice_by_index,
    "split": _split,
    "transpose": _transpose,
}

MOVEMENT: Final = frozenset({"concat", "gather", "reshape", "slice_by_index", "split", "transpose"})
"""Operations that move values and so need no rounding."""
