"""A GGUF file read in one pass: its metadata, and its tensors dequantised to fp32 when asked for.

The `gguf` package's own reader makes one array per string, seconds for a vocabulary; its block formats are used as they are.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
from attrs import frozen
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC, KEY_GENERAL_ALIGNMENT, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize
from numpy.typing import NDArray

__all__ = ["GgufFile", "TensorPlace"]

_FORMATS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}


@frozen(kw_only=True)
class TensorPlace:
    """Where one tensor lies and how it is stored."""

    shape: tuple[int, ...]
    """Rows first."""
    quantization: GGMLQuantizationType
    offset: int
    """Bytes from the beginning of the file."""


@frozen(kw_only=True, eq=False)
class GgufFile:
    """An open GGUF file."""

    metadata: Mapping[str, object]
    """Arrays are lists."""
    tensors: Mapping[str, TensorPlace]
    data: mmap.mmap

    @classmethod
    def open(cls, path: Path) -> GgufFile:
        """The file at `path`, mapped into memory; ValueError if it is no GGUF file of version 3."""
        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        scan = _Scan(data)
        magic, version = scan.number("<I"), scan.number("<I")
        if (magic, version) != (GGUF_MAGIC, 3):
            raise ValueError(f"{path} begins with {magic:#x}, version {version}, expected a GGUF file of version 3.")
        num_tensors, num_keys = scan.number("<Q"), scan.number("<Q")
        metadata = {scan.text(): scan.value(GGUFValueType(scan.number("<I"))) for _ in range(num_keys)}
        headers = [scan.tensor() for _ in range(num_tensors)]
        alignment = metadata.get(KEY_GENERAL_ALIGNMENT, GGUF_DEFAULT_ALIGNMENT)
        assert isinstance(alignment, int)
        start = -(-scan.offset // alignment) * alignment
        tensors = {name: TensorPlace(shape=shape, quantization=kind, offset=start + offset) for name, shape, kind, offset in headers}
        return cls(metadata=metadata, tensors=tensors, data=data)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The tensor `name` in fp32."""
        place = self.tensors[name]
        block, block_bytes = GGML_QUANT_SIZES[place.quantization]
        num_bytes = prod(place.shape) // block * block_bytes
        raw = np.frombuffer(self.data, dtype=np.uint8, count=num_bytes, offset=place.offset)
        rows = raw.reshape(*place.shape[:-1], place.shape[-1] // block * block_bytes)
        values = dequantize(rows, place.quantization).reshape(place.shape)
        return np.require(values, dtype=np.float32, requirements="W")


class _Scan:
    """A position in the header that moves as values are read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.offset = 0

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self.data, self.offset)
        self.offset += struct.calcsize(layout)
        assert isinstance(value, int)
        return value

    def text(self) -> str:
        length = self.number("<Q")
        self.offset += length
        return self.data[self.offset - length : self.offset].decode()

    def value(self, kind: GGUFValueType) -> object:
        if kind is GGUFValueType.STRING:
            return self.text()
        if kind is GGUFValueType.ARRAY:
            return self._array()
        (value,) = struct.unpack_from(_FORMATS[kind], self.data, self.offset)
        self.offset += struct.calcsize(_FORMATS[kind])
        return value

    def tensor(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self.text()
        num_dimensions = self.number("<I")
        shape = tuple(self.number("<Q") for _ in range(num_dimensions))[::-1]
        return name, shape, GGMLQuantizationType(self.number("<I")), self.number("<Q")

    def _array(self) -> list[object]:
        kind, length = GGUFValueType(self.number("<I")), self.number("<Q")
        return [self.value(kind) for _ in range(length)]
