"""Values of a specification as numpy arrays: constants written in place, constants of the weight file, declared types.

Half precision is held in float32 arrays whose values are representable in float16, so that arithmetic inside an
operation is exact32; `round_half` is the one rounding at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from attrs import frozen

from kd.conversion.quiet_coremltools import MIL_pb2
from kd.conversion.weight_file import Blob

__all__ = ["Array", "TensorType", "constant", "round_half", "tensor_type"]

Array = np.ndarray[Any, Any]

_NAMES: Final[Mapping[int, str]] = {
    MIL_pb2.FLOAT16: "fp16",
    MIL_pb2.FLOAT32: "fp32",
    MIL_pb2.INT8: "int8",
    MIL_pb2.INT32: "int32",
    MIL_pb2.BOOL: "bool",
    MIL_pb2.STRING: "string",
}
_HELD_AS: Final[Mapping[str, Any]] = {
    "fp16": np.float32,
    "fp32": np.float32,
    "int8": np.int8,
    "int32": np.int32,
    "bool": np.bool_,
}


@frozen(kw_only=True)
class TensorType:
    """Element type and shape as declared."""

    dtype: str
    """`fp16`, `fp32`, `int8`, `int32`, `bool`, `string`, or the name the specification gives another one."""
    shape: tuple[int, ...]


def tensor_type(value_type: Any) -> TensorType:
    """The declared type of a value."""
    declared = value_type.tensorType
    dtype = _NAMES.get(declared.dataType) or MIL_pb2.DataType.Name(declared.dataType).lower()
    return TensorType(dtype=dtype, shape=tuple(int(dimension.constant.size) for dimension in declared.dimensions))


def constant(value: Any, blobs: Mapping[int, Blob]) -> Array | str:
    """The value itself: an array of the declared shape, or a string. Raises ValueError for a form that packages here lack."""
    declared = tensor_type(value.type)
    if declared.dtype == "string":
        return str(value.immediateValue.tensor.strings.values[0])
    if declared.dtype not in _HELD_AS:
        raise ValueError(f"of element type {declared.dtype}")
    if value.WhichOneof("value") == "blobFileValue":
        flat: Array = blobs[value.blobFileValue.offset].array()
    else:
        flat = _immediate(value.immediateValue.tensor, declared.dtype)
    return flat.astype(_HELD_AS[declared.dtype], copy=False).reshape(declared.shape)


def round_half(values: Array) -> Array:
    """float32 values rounded once to float16; what overflows is infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _immediate(tensor: Any, dtype: str) -> Array:
    readers: Mapping[str, Callable[[], Array]] = {
        "ints": lambda: np.array(tensor.ints.values, dtype=np.int32),
        "floats": lambda: np.array(tensor.floats.values, dtype=np.float32),
        "bools": lambda: np.array(tensor.bools.values, dtype=np.bool_),
        "bytes": lambda: np.frombuffer(tensor.bytes.values, dtype=np.dtype({"fp16": "<f2", "int8": "i1"}[dtype])),
    }
    form = tensor.WhichOneof("value")
    if form not in readers:
        raise ValueError(f"written as {form}")
    return readers[form]()
