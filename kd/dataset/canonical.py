"""One spelling for JSON that is hashed: sorted keys, no spaces, UTF-8, no NaN; objects of attrs become mappings."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar, cast

import cattrs
from attrs import AttrsInstance, asdict, has

__all__ = ["canonical_json", "digest_of", "structure"]

T = TypeVar("T")

_CONVERTER = cattrs.Converter(forbid_extra_keys=True)


def canonical_json(value: object) -> bytes:
    """`value` (JSON types, and instances of attrs classes anywhere in it) as its one JSON text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)
    return text.encode()


def digest_of(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def structure(value: Any, cls: type[T]) -> T:
    """`value` (JSON types) as an instance of `cls`; unknown and missing keys raise, in an ExceptionGroup with every path."""
    return _CONVERTER.structure(value, cls)


def _plain(value: object) -> object:
    if has(type(value)):
        return asdict(cast(AttrsInstance, value))
    raise TypeError(f"{type(value).__name__} has no canonical JSON: give plain JSON types or attrs classes.")
