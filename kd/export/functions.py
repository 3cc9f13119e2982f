"""Which functions an export has, and the inputs each of them takes: names, dtypes and shapes, without torch."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from kd.export.config import ExportConfig
from kd.models.architecture import Architecture
from kd.models.contract import FunctionSpec, KvLayout, TensorSpec

__all__ = [
    "INPUT_NAMES",
    "ONNX_FUNCTION",
    "ONNX_PROGRAM",
    "OUTPUT_NAMES",
    "FunctionPlan",
    "dynamic_function",
    "fixed_function",
    "input_specs",
    "kv_layout",
    "output_specs",
    "plan_functions",
]

INPUT_NAMES: Final = ("ids", "cos", "sin", "mask", "past_k", "past_v")
OUTPUT_NAMES: Final = ("logits", "new_k", "new_v")
ONNX_FUNCTION: Final = "portable"
ONNX_PROGRAM: Final = "onnx/portable.onnx"

_UNSEALED: Final = "0" * 64


@frozen(kw_only=True)
class FunctionPlan:
    """One function of fixed shape: T queries over P past tokens, T + P = length."""

    name: str
    kind: Literal["prefill", "decode", "verify"]
    length: int
    num_queries: int
    num_past: int


def plan_functions(config: ExportConfig) -> tuple[FunctionPlan, ...]:
    """Prefill, decode and verify for every length, shortest length first."""
    plans = []
    for length in config.lengths:
        width = config.verify_width
        plans += [
            FunctionPlan(name=f"prefill_{length}", kind="prefill", length=length, num_queries=length, num_past=0),
            FunctionPlan(name=f"decode_{length}", kind="decode", length=length, num_queries=1, num_past=length - 1),
            FunctionPlan(name=f"verify{width}_{length}", kind="verify", length=length, num_queries=width, num_past=length - width),
        ]
    return tuple(plans)


def input_specs(architecture: Architecture, num_queries: int | str, num_past: int | str, num_keys: int | str) -> tuple[TensorSpec, ...]:
    """The inputs of a function; without a past (`num_past` 0) it takes no `past_k` and `past_v`."""
    head_dim = architecture.head_dim
    rows = architecture.num_layers * architecture.num_kv_heads
    shapes: dict[str, tuple[int | str, ...]] = {
        "ids": (1, num_queries),
        "cos": (1, 1, num_queries, head_dim),
        "sin": (1, 1, num_queries, head_dim),
        "mask": (1, 1, num_queries, num_keys),
        "past_k": (1, rows, num_past, head_dim),
        "past_v": (1, rows, num_past, head_dim),
    }
    names = INPUT_NAMES[:4] if num_past == 0 else INPUT_NAMES
    return tuple(TensorSpec(name=name, dtype="int32" if name == "ids" else "float32", shape=shapes[name]) for name in names)


def output_specs(architecture: Architecture, num_queries: int | str, num_logits: int | str) -> tuple[TensorSpec, ...]:
    """The outputs of a function: logits of `num_logits` rows, keys and values of all queries."""
    rows = architecture.num_layers * architecture.num_kv_heads
    shapes: tuple[tuple[int | str, ...], ...] = (
        (1, num_logits, architecture.vocab_size),
        (1, rows, num_queries, architecture.head_dim),
        (1, rows, num_queries, architecture.head_dim),
    )
    return tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in zip(OUTPUT_NAMES, shapes, strict=True))


def fixed_function(architecture: Architecture, plan: FunctionPlan, sha256: str = _UNSEALED) -> FunctionSpec:
    """The contract's entry for `plan`, whose program file has the digest `sha256`."""
    return FunctionSpec(
        name=plan.name,
        kind=plan.kind,
        length=plan.length,
        inputs=input_specs(architecture, plan.num_queries, plan.num_past, plan.length),
        outputs=output_specs(architecture, plan.num_queries, 1 if plan.kind == "prefill" else plan.num_queries),
        program=f"programs/{plan.name}.pt2",
        sha256=sha256,
    )


def dynamic_function(architecture: Architecture, sha256: str = _UNSEALED) -> FunctionSpec:
    """The contract's entry for the ONNX graph, whose file has the digest `sha256`."""
    return FunctionSpec(
        name=ONNX_FUNCTION,
        kind="dynamic",
        length=architecture.max_context_tokens,
        inputs=input_specs(architecture, "T", "P", "S"),
        outputs=output_specs(architecture, "T", "T"),
        program=ONNX_PROGRAM,
        sha256=sha256,
        pad="none",
    )


def kv_layout(architecture: Architecture) -> KvLayout:
    """The key-value pack of `architecture`."""
    return KvLayout(pack=(1, architecture.num_layers * architecture.num_kv_heads, "P", architecture.head_dim))
