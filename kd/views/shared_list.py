"""A list that only grows, whose older versions stay what they were and share their items with the newer ones.

Folding the same records again, after going back to an older version, finds the items that are already there. Only another future makes
a copy. One thread appends at a time; any thread reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import field, frozen

__all__ = ["SharedList"]

T = TypeVar("T")


@frozen(eq=False)
class SharedList(Generic[T]):
    """The first `_length` of some items."""

    _items: list[T] = field(factory=list)
    _length: int = 0

    def append(self, item: T) -> SharedList[T]:
        """The list with `item` behind its last one, in constant time."""
        items, length = self._items, self._length
        if length < len(items) and items[length] == item:
            return SharedList(items, length + 1)
        if length < len(items):
            items = items[:length]
        items.append(item)
        return SharedList(items, length + 1)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        items = self._items
        return (items[index] for index in range(self._length))

    def __getitem__(self, index: int) -> T:
        if not -self._length <= index < self._length:
            raise IndexError(f"Index {index} is outside a list of {self._length}.")
        return self._items[index % self._length]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedList) and self.part() == other.part()

    def __hash__(self) -> int:
        return hash(self._length)

    def __repr__(self) -> str:
        return f"SharedList({self.part()!r})"

    def part(self, start: int = 0, stop: int | None = None) -> tuple[T, ...]:
        """Items from `start` to before `stop`; negative numbers count from the end."""
        first, last, _ = slice(start, stop).indices(self._length)
        return tuple(self._items[first:last])
