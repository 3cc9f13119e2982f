"""A registry that could not read back what it writes cannot be built."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ledger.registry import Entry, Registry


@attrs.frozen(kw_only=True)
class Good:
    """An event as it should be."""

    x: int = 0


@attrs.define
class Mutable:
    """Not frozen."""

    x: int = 0


@attrs.frozen(kw_only=True)
class Converted:
    """With a converter."""

    x: int = attrs.field(default=0, converter=int)


@attrs.frozen(kw_only=True)
class Hidden:
    """With a field that cannot be given, and one under another name."""

    x: int = attrs.field(default=0, init=False)
    y: int = attrs.field(default=0, alias="z")


@attrs.frozen(kw_only=True)
class Mixed:
    """With a type that cannot be told apart in JSON."""

    x: Good | Converted | None = None


class Child(Good):
    """Not an attrs class itself."""


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Mutable, "Mutable is not attrs.frozen"),
        (Converted, "Converted.x has a converter"),
        (Hidden, "Hidden.x has init=False"),
        (Hidden, "Hidden.y has the alias 'z'"),
        (Mixed, "Mixed has a type that cannot be read back"),
        (Child, "Child is not attrs.frozen"),
        (dict, "dict is not attrs.frozen"),
    ],
)
def test_classes_that_cannot_be_read_back_are_refused(cls: type[Any], words: str) -> None:
    """Each kind of unreadable class is named with its reason."""
    with pytest.raises(ValueError, match="cannot be registered") as caught:
        Registry([Entry(name="example.event", cls=cls)])
    assert words in str(caught.value)


def test_all_mistakes_come_at_once() -> None:
    """Names, versions and classes are all checked before anything is said."""
    entries = [
        Entry(name="example.event", cls=Good),
        Entry(name="example.event", cls=Good),
        Entry(name="Example", cls=Mutable, version=2),
    ]
    with pytest.raises(ValueError, match="cannot be registered") as caught:
        Registry(entries)
    text = str(caught.value)
    assert text.count("\n- ") == 5
    assert "The name 'example.event' is given twice" in text
    assert "The class Good is given twice" in text
    assert "The name 'Example' is not two or more lower-case words" in text
    assert "Example/2 has 0 upcasts, expected 1" in text
    assert "Mutable is not attrs.frozen" in text
