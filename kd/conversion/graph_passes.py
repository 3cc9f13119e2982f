"""What we register with coremltools: two graph passes under `kd::`, and one torch operation that it lacks.

    kd::scaled_rms_norm    x·rsqrt(mean(x²) + ε)  →  y·rsqrt(mean(y²) + (√ε/s)²) with y = x/s, s = max(2⁻¹⁴, max|x|)
    kd::fp16_cast          half precision for every operation

In half precision x² overflows from |x| = 256 on, which the first token of a trained model exceeds; y lies within ±1. The
programs keep the plain form, because the ONNX exporter knows no other as a normalisation. `alias` is what torch makes of a
slice that takes everything, as the only key-value head is of all of them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from attrs import frozen

from kd.conversion.quiet_coremltools import (
    AbstractGraphPass,
    Builder,
    add_fp16_cast,
    block_context_manager,
    register_pass,
    register_torch_op,
)

__all__ = ["FP16_CAST", "SCALED_RMS_NORM", "alias", "fp16_cast", "scaled_rms_norm"]

FP16_CAST: Final = "kd::fp16_cast"
SCALED_RMS_NORM: Final = "kd::scaled_rms_norm"

_SMALLEST_SCALE: Final = np.float32(2.0**-14)


@register_pass(namespace="kd")  # type: ignore[misc, untyped-decorator, unused-ignore]  # coremltools has no types
class fp16_cast(add_fp16_cast):  # type: ignore[misc]  # noqa: N801  # a pass is named by its class
    """The pass of coremltools, without asking of every operation whether a constant would overflow.

    That takes half of a conversion's time; all weights are checked once, before it begins.
    """

    @staticmethod
    def fp16_overflow(_operation: Any) -> bool:
        """Never: weights that would are refused before."""
        return False


@register_pass(namespace="kd")  # type: ignore[misc, untyped-decorator, unused-ignore]
class scaled_rms_norm(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801
    """RMSNorm on rows that were divided by their largest absolute value."""

    def apply(self, program: Any) -> None:
        """Rewrite every RMSNorm of every function."""
        for function in program.functions.values():
            _scale_norms(function)


@register_torch_op  # type: ignore[untyped-decorator, unused-ignore]
def alias(context: Any, node: Any) -> None:
    """The same value under another name."""
    context.add(Builder.identity(x=context[node.inputs[0]], name=node.name))


@frozen(kw_only=True, eq=False)
class _Norm:
    """The operations of x·rsqrt(mean(x²) + ε), in order."""

    square: Any
    mean: Any
    shifted: Any
    root: Any
    product: Any


@block_context_manager  # type: ignore[untyped-decorator, unused-ignore]
def _scale_norms(block: Any) -> None:
    for operation in list(block.operations):
        norm = _match(operation)
        if norm is not None:
            _rewrite(block, norm)


def _match(square: Any) -> _Norm | None:
    """The norm that begins with `square`; None if it is something else."""
    if square.op_type != "pow" or square.y.val is None or float(square.y.val) != 2.0:
        return None
    chain = [square]
    for op_type in ("reduce_mean", "add", "rsqrt", "mul"):
        children = chain[-1].outputs[0].child_ops
        if len(children) != 1 or children[0].op_type != op_type:
            return None
        chain.append(children[0])
    norm = _Norm(square=chain[0], mean=chain[1], shifted=chain[2], root=chain[3], product=chain[4])
    is_of_x = norm.product.x is square.x or norm.product.y is square.x
    return norm if is_of_x and norm.shifted.y.val is not None else None


def _rewrite(block: Any, norm: _Norm) -> None:
    x, name = norm.square.x, norm.product.name
    axes = [int(axis) for axis in norm.mean.axes.val]
    place = {"before_op": norm.product}
    size = Builder.abs(x=x, name=f"{name}_size", **place)
    largest = Builder.reduce_max(x=size, axes=axes, keep_dims=True, name=f"{name}_largest", **place)
    scale = Builder.maximum(x=largest, y=_SMALLEST_SCALE, name=f"{name}_scale", **place)
    scaled = Builder.real_div(x=x, y=scale, name=f"{name}_scaled", **place)
    square = Builder.pow(x=scaled, y=np.float32(2.0), name=f"{name}_square", **place)
    mean = Builder.reduce_mean(x=square, axes=axes, keep_dims=True, name=f"{name}_mean", **place)
    eps_root = np.float32(np.sqrt(np.float64(norm.shifted.y.val)))
    shift_root = Builder.real_div(x=eps_root, y=scale, name=f"{name}_shift_root", **place)
    shift = Builder.mul(x=shift_root, y=shift_root, name=f"{name}_shift", **place)
    shifted = Builder.add(x=mean, y=shift, name=f"{name}_shifted", **place)
    root = Builder.rsqrt(x=shifted, name=f"{name}_root", **place)
    product = Builder.mul(x=scaled, y=root, name=f"{name}_normalised", **place)
    block.replace_uses_of_var_after_op(anchor_op=norm.product, old_var=norm.product.outputs[0], new_var=product)
    block.remove_ops([norm.product, norm.root, norm.shifted, norm.mean, norm.square])
