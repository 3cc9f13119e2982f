"""Which classes are events: each with its written-out name, version, durability and upcasters, in one explicit tuple.

Nothing registers by being imported. A registry that could not read back what it writes cannot be built:
all its mistakes are reported at once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import attrs
import msgspec
from attrs import field, frozen

__all__ = ["Durability", "Entry", "Registry", "Upcast"]

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""A pure function from the payload of one event version to that of the next."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class Durability(enum.Enum):
    """When an append is acknowledged."""

    METRIC = "metric"
    """Once written: it survives SIGKILL, and power loss may take the last tenth of a second."""
    TRANSITION = "transition"
    """Once on disk, with everything before it."""


@frozen(kw_only=True)
class Entry:
    """One kind of event."""

    name: str
    """Stored name, `training.step_completed`; never a Python path."""
    version: int = 1
    cls: type[Any]
    durability: Durability = Durability.TRANSITION
    upcasts: tuple[Upcast, ...] = ()
    """`upcasts[i]` brings a payload of version i + 1 to version i + 2; applied on read, stored bytes stay."""


def _entries(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entries)


@frozen
class Registry:
    """All kinds of events that a program can write, and read as typed values."""

    entries: tuple[Entry, ...] = field(converter=_entries)

    def __attrs_post_init__(self) -> None:
        mistakes = [*_repeated(self.entries), *(line for entry in self.entries for line in _mistakes(entry))]
        if mistakes:
            raise ValueError("These events cannot be registered:\n" + "\n".join(f"- {line}" for line in mistakes))


def _repeated(entries: Iterable[Entry]) -> Iterable[str]:
    names: set[str] = set()
    classes: set[type] = set()
    for entry in entries:
        if entry.name in names:
            yield f"The name {entry.name!r} is given twice; every kind of event needs a name of its own."
        if entry.cls in classes:
            yield f"The class {entry.cls.__name__} is given twice; every kind of event needs a class of its own."
        names.add(entry.name)
        classes.add(entry.cls)


def _mistakes(entry: Entry) -> Iterable[str]:
    if not _NAME.fullmatch(entry.name):
        yield f"The name {entry.name!r} is not two or more lower-case words joined by dots, such as 'training.step_completed'."
    if entry.version < 1 or len(entry.upcasts) != entry.version - 1:
        needed = max(entry.version - 1, 0)
        yield f"{entry.name}/{entry.version} has {len(entry.upcasts)} upcasts, expected {needed}: one from each older version to the next."
    if not _is_frozen(entry.cls):
        yield f"The class {entry.cls.__name__} is not attrs.frozen; declare it with @attrs.frozen(kw_only=True)."
        return
    for attribute in attrs.fields(entry.cls):
        yield from _field_mistakes(entry.cls, attribute)
    try:
        msgspec.json.Decoder(entry.cls)
    except (TypeError, NotImplementedError, NameError) as error:
        yield f"The class {entry.cls.__name__} has a type that cannot be read back: {error}"


def _field_mistakes(cls: type, attribute: Any) -> Iterable[str]:
    place = f"{cls.__name__}.{attribute.name}"
    if attribute.converter is not None:
        yield f"{place} has a converter, which reading would skip; take the value as it is stored."
    if not attribute.init:
        yield f"{place} has init=False, so reading could not set it; make it a property or an argument."
    elif attribute.alias != attribute.name:
        yield f"{place} has the alias {attribute.alias!r}, which reading would not find; use one name."


def _is_frozen(cls: type) -> bool:
    """Whether `cls` is an attrs class of its own whose instances refuse to be changed."""
    if "__attrs_attrs__" not in cls.__dict__:
        return False
    try:
        cast(Any, object.__new__(cls)).probe = None
    except attrs.exceptions.FrozenInstanceError:
        return True
    except AttributeError:
        return False  # slots, but not frozen
    return False
