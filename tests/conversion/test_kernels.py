"""Every kernel against a second opinion: what coremltools folds constants to, or torch where it folds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kd.conversion.mil.kernels import KERNELS
from kd.conversion.quiet_coremltools import Builder, coremltools, quietly

Arguments = dict[str, Any]

TOLERANCE = 1e-5
"""Relative, in float32; movement must be exact."""


def _normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def _ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.int32)


OPEN = np.array([False, True, False])
FOLDED: list[tuple[str, Arguments]] = [
    ("abs", {"x": _normal(2, 3)}),
    ("add", {"x": _normal(2, 3), "y": _normal(1, 3, seed=1)}),
    ("concat", {"values": (_normal(1, 2, 4), _normal(1, 3, 4)), "axis": np.int32(1), "interleave": False}),
    ("concat", {"values": (_normal(1, 2, 4), _normal(1, 2, 1)), "axis": np.int32(-1), "interleave": False}),
    (
        "gather",
        {
            "x": _normal(7, 4),
            "indices": _ints(6, 0, 3).reshape(1, 3),
            "axis": np.int32(0),
            "batch_dims": np.int32(0),
            "validate_indices": False,
        },
    ),
    ("linear", {"x": _normal(2, 3, 8), "weight": _normal(5, 8), "bias": _normal(5)}),
    ("maximum", {"x": _normal(2, 3), "y": np.float32(0.25)}),
    ("mul", {"x": _normal(2, 1, 3), "y": _normal(4, 3)}),
    ("pow", {"x": _normal(2, 3), "y": np.float32(2.0)}),
    ("real_div", {"x": _normal(2, 3), "y": np.abs(_normal(2, 1)) + np.float32(0.1)}),
    ("reduce_max", {"x": _normal(2, 3, 4), "axes": _ints(-1), "keep_dims": True}),
    ("reduce_mean", {"x": _normal(2, 3, 4), "axes": _ints(-1), "keep_dims": True}),
    ("reduce_mean", {"x": _normal(2, 3, 4), "axes": _ints(0, 2), "keep_dims": False}),
    ("reshape", {"x": _normal(2, 3, 4), "shape": _ints(1, 6, -1)}),
    ("rsqrt", {"x": np.abs(_normal(2, 3)), "epsilon": np.float32(1e-6)}),
    (
        "slice_by_index",
        {"x": _normal(4, 5, 6), "begin": _ints(1, 0, -3), "end": _ints(3, 0, 6), "end_mask": np.array([False, True, False])},
    ),
    (
        "slice_by_index",
        {"x": _normal(4, 5), "begin": _ints(2, 1), "end": _ints(4, 5), "stride": _ints(1, 2), "begin_mask": np.array([True, False])},
    ),
    ("split", {"x": _normal(2, 6), "num_splits": np.int32(2), "axis": np.int32(-1)}),
    ("split", {"x": _normal(2, 6), "split_sizes": _ints(2, 4), "axis": np.int32(1)}),
    ("transpose", {"x": _normal(2, 3, 4), "perm": _ints(0, 2, 1)}),
]


def _attention(arguments: Arguments) -> torch.Tensor:
    tensors = {name: torch.from_numpy(value) for name, value in arguments.items()}
    return torch.nn.functional.scaled_dot_product_attention(
        tensors["query"], tensors["key"], tensors["value"], attn_mask=tensors.get("attn_mask")
    )


def _silu(arguments: Arguments) -> torch.Tensor:
    return torch.nn.functional.silu(torch.from_numpy(arguments["x"]))


def _shift_scale(arguments: Arguments) -> torch.Tensor:
    return torch.from_numpy(arguments["data"]).float() * torch.from_numpy(arguments["scale"])


QUERY = {"query": _normal(1, 2, 3, 8), "key": _normal(1, 2, 5, 8), "value": _normal(1, 2, 5, 4)}
MASK = np.where(np.arange(15).reshape(1, 1, 3, 5) % 4 == 3, -1e4, 0.0).astype(np.float32)
BY_TORCH: list[tuple[str, Arguments, Callable[[Arguments], torch.Tensor]]] = [
    ("scaled_dot_product_attention", QUERY, _attention),
    ("scaled_dot_product_attention", {**QUERY, "attn_mask": MASK}, _attention),
    ("silu", {"x": np.array([-200.0, -1.0, 0.0, 3.0, 90.0], dtype=np.float32)}, _silu),
    (
        "constexpr_blockwise_shift_scale",
        {"data": np.arange(-6, 6, dtype=np.int8).reshape(3, 4), "scale": np.array([[0.5], [2.0], [0.01]], dtype=np.float32)},
        _shift_scale,
    ),
]


@pytest.mark.parametrize(("op", "arguments"), FOLDED, ids=[f"{op}-{index}" for index, (op, _) in enumerate(FOLDED)])
def test_kernel_equals_what_coremltools_folds(op: str, arguments: Arguments) -> None:
    """A kernel gives what coremltools computes when all inputs are constants."""
    expected = _fold(op, arguments)
    found = KERNELS[op](arguments)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=1e-6)
        assert one.shape == other.shape


@pytest.mark.parametrize(("op", "arguments", "oracle"), BY_TORCH, ids=[f"{op}-{index}" for index, (op, _, _) in enumerate(BY_TORCH)])
def test_kernel_equals_torch(op: str, arguments: Arguments, oracle: Callable[[Arguments], torch.Tensor]) -> None:
    """A kernel that coremltools cannot fold gives what torch computes."""
    (found,) = KERNELS[op](arguments)
    np.testing.assert_allclose(found, oracle(arguments).numpy(), rtol=TOLERANCE, atol=1e-6)


def test_every_kernel_has_a_second_opinion() -> None:
    """No kernel is added without a test of its own."""
    assert {op for op, _ in FOLDED} | {op for op, _, _ in BY_TORCH} == set(KERNELS)


@pytest.mark.parametrize(
    ("op", "arguments", "what"),
    [
        ("concat", {"values": (_normal(1, 2), _normal(1, 2)), "axis": 0, "interleave": True}, "interleaving"),
        ("gather", {"x": _normal(2, 2), "indices": _ints(0), "batch_dims": np.int32(1)}, "batch dimensions"),
        ("scaled_dot_product_attention", {**QUERY, "attn_mask": MASK == 0}, "boolean mask"),
        ("slice_by_index", {"x": _normal(2), "begin": _ints(1), "end": _ints(0), "stride": _ints(-1)}, "stride below 1"),
        ("slice_by_index", {"x": _normal(2), "begin": _ints(1), "end": _ints(2), "squeeze_mask": np.array([True])}, "squeeze mask"),
        ("constexpr_blockwise_shift_scale", {"data": np.zeros((2, 4), np.int8), "scale": _normal(2, 2)}, "scales of shape"),
        ("constexpr_blockwise_shift_scale", {"data": np.zeros((2, 4), np.int8), "scale": _normal(2, 1), "offset": 1}, "offset"),
    ],
)
def test_forms_that_no_package_here_has_are_refused(op: str, arguments: Arguments, what: str) -> None:
    """A kernel says that it does not know a form instead of guessing it."""
    with pytest.raises(ValueError, match=what):
        KERNELS[op](arguments)


def _fold(op: str, arguments: Arguments) -> tuple[np.ndarray[Any, Any], ...]:
    """The values that coremltools infers for one operation with constant inputs."""
    folded: list[Any] = []

    def body(x: Any) -> Any:
        result = getattr(Builder, op)(**arguments)
        folded.extend(result if isinstance(result, list | tuple) else [result])
        return x

    with quietly():
        spec = Builder.TensorSpec(shape=(1,))
        Builder.program(input_specs=[spec], opset_version=coremltools.target.iOS18)(body)
    return tuple(np.asarray(var.val) for var in folded)
