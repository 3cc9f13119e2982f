"""What differs between two states: the values at each path of two attrs trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import fields, frozen, has

__all__ = ["ABSENT", "Absent", "Change", "diff_states", "value_at"]

_KEY_FIELDS = ("id", "key", "name", "stage", "step", "path", "kind", "gate_id", "suite")
"""Fields that tell the items of a tuple apart, in order of preference."""


class Absent:
    """The value of a path that one of two states does not have."""

    def __repr__(self) -> str:
        return "–"


ABSENT: Final = Absent()


@frozen
class Change:
    """A path whose value in state `a` is not that in state `b`."""

    path: str
    """Dotted names of fields, keys and indices; empty for the states as wholes."""
    a: object
    b: object


def diff_states(a: object, b: object) -> tuple[Change, ...]:
    """All paths where `a` and `b` differ, sorted; where their classes differ, the class names differ as well as the fields.

    Items of a tuple go by their key field where every item has one of its own, else by index. Floats are compared bit by bit.
    """
    return tuple(sorted(_changes("", a, b), key=lambda change: change.path))


def value_at(state: object, path: str) -> object:
    """The value at a path as `diff_states` names it, or ABSENT."""
    value = state
    rest = path
    while rest:
        found = next(((name, child) for name, child in _children(value) if rest == name or rest.startswith(f"{name}.")), None)
        if found is None:
            return ABSENT
        rest = rest[len(found[0]) + 1 :]
        value = found[1]
    return value


def _changes(path: str, a: object, b: object) -> Iterator[Change]:
    if a is b:
        return
    mine, theirs = _shape(a), _shape(b)
    if mine is None or theirs is None:
        if not _is_same(a, b):
            yield Change(path, a, b)
        return
    if mine != theirs:
        yield Change(path, mine, theirs)
    ours = _paired_children(a, b)
    for name, (one, other) in ours.items():
        yield from _changes(f"{path}.{name}" if path else name, one, other)


def _shape(value: object) -> str | None:
    """What kind of tree it is; None for a leaf."""
    if isinstance(value, tuple | list):
        return "tuple"
    if isinstance(value, Mapping):
        return "mapping"
    return type(value).__name__ if has(type(value)) else None


def _paired_children(a: object, b: object) -> dict[str, tuple[object, object]]:
    key = _key_field(a, b)
    mine, theirs = dict(_children(a, key)), dict(_children(b, key))
    names = [*mine, *(name for name in theirs if name not in mine)]
    return {name: (mine.get(name, ABSENT), theirs.get(name, ABSENT)) for name in names}


def _children(value: object, key: str | None = "?") -> Iterator[tuple[str, object]]:
    if isinstance(value, tuple | list):
        key = _key_field(value, value) if key == "?" else key
        for index, item in enumerate(value):
            yield (str(index) if key is None else str(getattr(item, key))), item
    elif isinstance(value, Mapping):
        yield from ((str(name), item) for name, item in value.items())
    elif has(type(value)):
        cls: Any = type(value)
        yield from ((field.name, getattr(value, field.name)) for field in fields(cls))


def _key_field(a: object, b: object) -> str | None:
    """The field that tells all items of both tuples apart, or None."""
    if not (isinstance(a, tuple | list) and isinstance(b, tuple | list)):
        return None
    for name in _KEY_FIELDS:
        keys = [[getattr(item, name, None) for item in items] for items in (a, b)]
        if all(isinstance(key, str | int) for row in keys for key in row) and all(len(set(row)) == len(row) for row in keys):
            return name if keys[0] or keys[1] else None
    return None


def _is_same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return a == b
