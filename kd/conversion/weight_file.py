"""`weight.bin` of a Core ML package: blobs of one dtype each, 64-byte aligned, found by the offset of their entry.

The header counts the blobs; an entry holds sentinel, dtype, size and the offset of the data. Format version 2. A blob that
lies in a file is read when it is asked for, so that six functions with the same weights do not hold them six times.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from attrs import field, frozen

from kd.errors import UsageError

__all__ = ["Blob", "blob_of", "read_weight_file", "write_weight_file"]

_ALIGNMENT: Final = 64
_VERSION: Final = 2
_SENTINEL: Final = 0xDEADBEEF
_HEADER: Final = struct.Struct("<II56x")
_ENTRY: Final = struct.Struct("<IIQQ40x")
_DTYPES: Final[Mapping[int, str]] = {1: "float16", 2: "float32", 4: "int8"}
_CODES: Final[Mapping[str, int]] = {name: code for code, name in _DTYPES.items()}


@frozen(kw_only=True)
class Blob:
    """One tensor's bytes; equal content gives an equal key."""

    dtype: str
    """`float16`, `float32` or `int8`."""
    num_bytes: int
    key: str
    """SHA-256 of dtype and bytes."""
    read: Callable[[], bytes] = field(eq=False, repr=False)
    """The bytes."""

    def array(self) -> np.ndarray[Any, Any]:
        """The values, flat."""
        return np.frombuffer(self.read(), dtype=np.dtype(self.dtype).newbyteorder("<"))


def blob_of(array: np.ndarray[Any, Any]) -> Blob:
    """A blob of the values of `array`, in row-major order."""
    dtype = array.dtype.name
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    return Blob(dtype=dtype, num_bytes=len(data), key=_key(dtype, data), read=lambda: data)


def read_weight_file(path: Path, offsets: Iterable[int]) -> dict[int, Blob]:
    """The blobs whose entries lie at `offsets`; UsageError if the file does not hold one there."""
    with path.open("rb") as stream:
        return {offset: _blob(path, stream, offset) for offset in sorted(set(offsets))}


def write_weight_file(path: Path, blobs: Iterable[Blob]) -> dict[str, int]:
    """Write `blobs`, each content once, in order of key; the answer maps a blob's key to its offset."""
    distinct = {blob.key: blob for blob in blobs}
    offsets: dict[str, int] = {}
    with path.open("wb") as stream:
        stream.write(_HEADER.pack(len(distinct), _VERSION))
        for key in sorted(distinct):
            blob = distinct[key]
            offsets[key] = stream.tell()
            stream.write(_ENTRY.pack(_SENTINEL, _CODES[blob.dtype], blob.num_bytes, stream.tell() + _ENTRY.size))
            stream.write(blob.read())
            stream.write(bytes(-blob.num_bytes % _ALIGNMENT))
    return offsets


def _blob(path: Path, stream: BinaryIO, offset: int) -> Blob:
    stream.seek(offset)
    entry = stream.read(_ENTRY.size)
    if offset < _HEADER.size or len(entry) < _ENTRY.size:
        raise _damaged(path, offset, "lies outside the file")
    sentinel, code, num_bytes, start = _ENTRY.unpack(entry)
    if sentinel != _SENTINEL or code not in _DTYPES:
        raise _damaged(path, offset, f"has sentinel {sentinel:#x} and dtype {code}")
    stream.seek(start)
    data = stream.read(num_bytes)
    if len(data) != num_bytes:
        raise _damaged(path, offset, "ends behind the end of the file")
    return Blob(dtype=_DTYPES[code], num_bytes=num_bytes, key=_key(_DTYPES[code], data), read=_reader(path, start, num_bytes))


def _reader(path: Path, start: int, num_bytes: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(num_bytes)

    return read


def _key(dtype: str, data: bytes) -> str:
    digest = hashlib.sha256(dtype.encode() + b"\0")
    digest.update(data)
    return digest.hexdigest()


def _damaged(path: Path, offset: int, what: str) -> UsageError:
    known = ", ".join(sorted(_CODES))
    return UsageError(f"{path}: the weight entry at {offset} {what}, expected one of {known} within the file: convert the model again.")
