"""What is checked on a package's file itself, without running it.

signature       functions, inputs and outputs have the names, element types and shapes of the contract
dtypes          nothing is a 64-bit integer; arithmetic is half precision; integers are ids, indices and sizes alone
weights         every function holds exactly the checkpoint's tensors: in half precision bit for bit, in int8 as the integers
                and scales that follow from them, which give each value back to within half a step
integer_share   in int8, at least 0.95 of the bytes of linear weights are integers
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen
from torch import Tensor

from kd.conversion.compression import CHUNK_ROWS, QuantisedRows, quantise_rows
from kd.conversion.config import Preset
from kd.conversion.coreml import core_ml_dtype
from kd.conversion.events import AUDITS, Audit, AuditCompleted
from kd.conversion.package import Program, block_of
from kd.conversion.quiet_coremltools import FeatureTypes_pb2, MIL_pb2
from kd.conversion.weight_file import blob_of
from kd.models.contract import Contract

__all__ = ["audit_package"]

_MIN_INTEGER_SHARE: Final = 0.95
_MAX_FINDINGS: Final = 20
_ALLOWED: Final = frozenset({MIL_pb2.FLOAT16, MIL_pb2.FLOAT32, MIL_pb2.INT8, MIL_pb2.INT32, MIL_pb2.BOOL, MIL_pb2.STRING})
_NOT_ARITHMETIC: Final = frozenset({"const"})
_CONSTEXPR: Final = "constexpr_blockwise_shift_scale"


@frozen(kw_only=True)
class _Found:
    findings: Sequence[str]
    num_checked: int


def audit_package(
    programs: Sequence[Program], contract: Contract, weights: Mapping[str, Tensor], functions: Sequence[str], preset: Preset, artifact: str
) -> tuple[AuditCompleted, ...]:
    """Every audit of the package with `programs`, in their order."""
    auditors: Mapping[Audit, Callable[[], _Found]] = {
        "signature": lambda: _signature(programs, contract, functions),
        "dtypes": lambda: _dtypes(programs),
        "weights": lambda: _weights(programs, weights, preset),
        "integer_share": lambda: _integer_share(programs, preset),
    }
    completed = []
    for audit in AUDITS:
        found = auditors[audit]()
        completed.append(
            AuditCompleted(
                preset=preset,
                artifact=artifact,
                audit=audit,
                status="fail" if found.findings else "pass",
                findings=tuple(found.findings[:_MAX_FINDINGS]),
                num_checked=found.num_checked,
            )
        )
    return tuple(completed)


def _signature(programs: Sequence[Program], contract: Contract, functions: Sequence[str]) -> _Found:
    found = {program.name: (_features(program.description.input), _features(program.description.output)) for program in programs}
    expected = {}
    for name in functions:
        function = contract.function(name)
        expected[name] = tuple(
            {spec.name: (core_ml_dtype(spec), spec.shape) for spec in side} for side in (function.inputs, function.outputs)
        )
    findings = [f"the package has no function {name}" for name in expected if name not in found]
    findings += [f"the package has a function {name} that nobody asked for" for name in found if name not in expected]
    findings += [
        f"{name} takes {found[name][0]} and gives {found[name][1]}, expected {expected[name][0]} and {expected[name][1]}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    return _Found(findings=findings, num_checked=len(expected))


def _features(features: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    name_of = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name
    arrays = {feature.name: feature.type.multiArrayType for feature in features}
    return {name: (name_of(array.dataType), tuple(array.shape)) for name, array in arrays.items()}


def _dtypes(programs: Sequence[Program]) -> _Found:
    findings = []
    num_checked = 0
    for program in programs:
        for operation in block_of(program.function).operations:
            for output in operation.outputs:
                num_checked += 1
                dtype = output.type.tensorType.dataType
                is_wrong = dtype not in _ALLOWED if operation.type in _NOT_ARITHMETIC else dtype != MIL_pb2.FLOAT16
                if is_wrong:
                    name = MIL_pb2.DataType.Name(dtype)
                    findings.append(f"{program.name}: {operation.type} {output.name} is {name}, expected half precision")
    return _Found(findings=findings, num_checked=num_checked)


def _weights(programs: Sequence[Program], weights: Mapping[str, Tensor], preset: Preset) -> _Found:
    expected: Counter[str] = Counter()
    names: dict[str, str] = {}
    findings = []
    for name, tensor in sorted(weights.items()):
        source = tensor.detach().numpy()
        key, finding = _expected(source, preset)
        findings += [f"{name}: {finding}"] if finding else []
        expected[key] += 1
        names[key] = name
    for program in programs:
        held = _held(program)
        findings += [f"{program.name}: no constant is the tensor {names[key]}" for key in expected if key not in held]
        findings += [
            f"{program.name}: the constant {where} is no tensor of the checkpoint" for key, where in held.items() if key not in expected
        ]
    return _Found(findings=findings, num_checked=len(weights) * len(programs))


def _expected(source: np.ndarray[Any, Any], preset: Preset) -> tuple[str, str]:
    """The key of what a package must hold for a tensor, and what is wrong with that itself."""
    half = source.astype(np.float16)
    if not np.isfinite(half).all():
        return "", "is not finite in half precision"
    if preset == "fp16" or source.ndim < 2:
        return blob_of(half).key, ""
    rows = quantise_rows(half)
    steps = _steps_off(source, rows)
    finding = "" if steps <= 1 else f"is off by {steps:.3g} of what rounding to int8 allows"
    return f"{blob_of(rows.values).key}/{blob_of(rows.scales).key}", finding


def _steps_off(source: np.ndarray[Any, Any], rows: QuantisedRows) -> float:
    """The largest error as a share of its bound: half a step, and what half precision loses of the weight and of its scale."""
    worst = 0.0
    for start in range(0, len(source), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        scales = rows.scales[chunk].astype(np.float32)
        error = np.abs(rows.values[chunk] * scales - source[chunk])
        bound = 0.5 * scales + np.abs(source[chunk]).max(axis=1, keepdims=True) * np.float32(2**-9)
        worst = max(worst, float((error / bound).max()))
    return worst


def _held(program: Program) -> dict[str, str]:
    """Keys of the weights that the function holds, with the name of the constant; what is all zero is a missing bias."""
    held = {}
    for operation in block_of(program.function).operations:
        if operation.type == _CONSTEXPR:
            blobs = [program.blobs[operation.inputs[name].arguments[0].value.blobFileValue.offset] for name in ("data", "scale")]
            held["/".join(blob.key for blob in blobs)] = operation.outputs[0].name
        elif operation.type == "const" and operation.attributes["val"].WhichOneof("value") == "blobFileValue":
            blob = program.blobs[operation.attributes["val"].blobFileValue.offset]
            if blob.array().any():
                held[blob.key] = operation.outputs[0].name
    return held


def _integer_share(programs: Sequence[Program], preset: Preset) -> _Found:
    if preset != "ane-int8":
        return _Found(findings=(), num_checked=0)
    findings = []
    for program in programs:
        integers, others = _linear_bytes(program)
        share = integers / max(integers + others, 1)
        if share < _MIN_INTEGER_SHARE:
            findings.append(
                f"{program.name}: {share:.3f} of the bytes of linear weights are integers, expected at least {_MIN_INTEGER_SHARE}"
            )
    return _Found(findings=findings, num_checked=len(programs))


def _linear_bytes(program: Program) -> tuple[int, int]:
    """Bytes of the linear weights that are integers, and of the others."""
    made = {operation.outputs[0].name: operation for operation in block_of(program.function).operations}
    integers = others = 0
    for operation in block_of(program.function).operations:
        if operation.type != "linear":
            continue
        weight = made[operation.inputs["weight"].arguments[0].name]
        if weight.type == _CONSTEXPR:
            integers += program.blobs[weight.inputs["data"].arguments[0].value.blobFileValue.offset].num_bytes
        else:
            others += program.blobs[weight.attributes["val"].blobFileValue.offset].num_bytes
    return integers, others
