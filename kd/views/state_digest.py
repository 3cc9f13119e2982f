"""One digest for a whole state, to compare folds.

Fields at their default are left out, so that a later release, which may add fields with defaults, folds an old ledger to the same digest.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attrs import NOTHING, Factory, fields, has

__all__ = ["state_digest"]


def state_digest(state: object) -> str:
    """SHA-256 of the canonical JSON of an attrs state: class names, fields, values; equal states give equal digests anywhere."""
    return hashlib.sha256(json.dumps(_plain(state), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: object) -> Any:
    cls: Any = type(value)
    match value:
        case enum.Enum():
            return [type(value).__name__, value.name]
        case None | bool() | int() | str():
            return value
        case float():
            return value.hex()
        case bytes():
            return value.hex()
        case tuple() | list():
            return [_plain(item) for item in value]
        case frozenset() | set():
            return sorted(json.dumps(_plain(item), sort_keys=True) for item in value)
        case Mapping():
            return sorted([str(key), _plain(item)] for key, item in value.items())
        case _ if has(cls):
            told = (field for field in fields(cls) if not _is_default(field, getattr(value, field.name)))
            return {"": cls.__name__} | {field.name: _plain(getattr(value, field.name)) for field in told}
        case _:
            raise TypeError(f"{cls.__name__} has no place in a state, expected attrs classes and plain values.")


def _is_default(field: Any, value: object) -> bool:
    default = field.default
    if isinstance(default, Factory):  # type: ignore[arg-type]  # to type checkers Factory is a function
        default = default.factory()
    return default is not NOTHING and type(default) is type(value) and default == value
