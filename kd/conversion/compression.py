"""The preset `ane-int8`: linear and embedding weights as int8 with one half-precision scale per output channel.

Symmetric and rounded to nearest: scale = max|row| / 127 in half precision, integer = round(weight / scale). A package
stores integers and scales; `constexpr_blockwise_shift_scale` multiplies them when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen

from kd.conversion.package import Program, block_of
from kd.conversion.quiet_coremltools import MIL_pb2
from kd.conversion.weight_file import Blob, blob_of

__all__ = ["CHUNK_ROWS", "Compressor", "QuantisedRows", "quantise_rows"]

CHUNK_ROWS: Final = 4096
"""Rows that are worked on at a time, so that an embedding needs no second copy in single precision."""
_LEVELS: Final = 127
_SMALLEST: Final = np.float16(6e-8)
_WEIGHT_INPUTS: Final = (("linear", "weight"), ("gather", "x"))


@frozen(kw_only=True, eq=False)
class QuantisedRows:
    """Integers and the scale of each row."""

    values: np.ndarray[Any, Any]
    """int8, (rows, columns)."""
    scales: np.ndarray[Any, Any]
    """float16, (rows, 1)."""


def quantise_rows(weight: np.ndarray[Any, Any]) -> QuantisedRows:
    """`weight` (rows, columns) in int8; a row of zeros keeps the scale 1."""
    values = np.empty(weight.shape, dtype=np.int8)
    scales = np.empty((len(weight), 1), dtype=np.float16)
    for start in range(0, len(weight), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        exact = weight[rows].astype(np.float32)
        largest = np.abs(exact).max(axis=1, keepdims=True)
        scales[rows] = np.where(largest == 0, 1.0, np.maximum((largest / _LEVELS).astype(np.float16), _SMALLEST))
        exact /= scales[rows].astype(np.float32)
        values[rows] = np.clip(np.rint(exact, out=exact), -_LEVELS, _LEVELS, out=exact)
    return QuantisedRows(values=values, scales=scales)


class Compressor:
    """Compresses the functions of one package; a weight that several functions share is quantised once."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[Blob, Blob]] = {}

    def compress(self, program: Program) -> Program:
        """`program` with the weights of its linear layers and embeddings in int8."""
        function = type(program.function)()
        function.CopyFrom(program.function)
        names = _weight_names(function)
        blobs = dict(program.blobs)
        for operation in block_of(function).operations:
            if operation.type == "const" and operation.outputs[0].name in names:
                self._replace(operation, blobs)
        return attrs.evolve(program, function=function, blobs=blobs)

    def _replace(self, operation: Any, blobs: dict[int, Blob]) -> None:
        value = operation.attributes["val"]
        if value.WhichOneof("value") != "blobFileValue":
            return
        num_rows, num_columns = _shape(value.type.tensorType)
        blob = blobs[value.blobFileValue.offset]
        values, scales = self._quantise(blob, num_rows, num_columns)
        next_number = max(blobs) + 1
        blobs[next_number], blobs[next_number + 1] = values, scales
        del operation.attributes["val"]
        operation.type = "constexpr_blockwise_shift_scale"
        _bind(operation, "data", next_number, MIL_pb2.INT8, (num_rows, num_columns))
        _bind(operation, "scale", next_number + 1, MIL_pb2.FLOAT16, (num_rows, 1))

    def _quantise(self, blob: Blob, num_rows: int, num_columns: int) -> tuple[Blob, Blob]:
        if blob.key not in self._done:
            rows = quantise_rows(blob.array().reshape(num_rows, num_columns))
            self._done[blob.key] = (blob_of(rows.values), blob_of(rows.scales))
        return self._done[blob.key]


def _weight_names(function: Any) -> frozenset[str]:
    """Names of the constants that a linear layer or an embedding takes as its weight."""
    wanted: Mapping[str, str] = dict(_WEIGHT_INPUTS)
    return frozenset(
        binding.name
        for operation in block_of(function).operations
        if operation.type in wanted and wanted[operation.type] in operation.inputs
        for binding in operation.inputs[wanted[operation.type]].arguments
    )


def _shape(tensor_type: Any) -> tuple[int, ...]:
    return tuple(dimension.constant.size for dimension in tensor_type.dimensions)


def _bind(operation: Any, name: str, number: int, dtype: Any, shape: tuple[int, ...]) -> None:
    value = operation.inputs[name].arguments.add().value
    value.type.tensorType.dataType = dtype
    value.type.tensorType.rank = len(shape)
    for size in shape:
        value.type.tensorType.dimensions.add().constant.size = size
    value.blobFileValue.offset = number
