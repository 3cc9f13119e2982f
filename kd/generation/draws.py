"""Random choices as pure functions: a draw is SHA-256 of its seed, item, purpose and counter, so it depends on nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

from attrs import frozen

from kd.dataset.canonical import canonical_json

__all__ = ["Draws", "ordered", "rank", "visited"]

T = TypeVar("T")


@frozen
class Draws:
    """The draws of one item."""

    seed: int
    item: int

    def below(self, bound: int, purpose: str, counter: int = 0) -> int:
        """A number from 0 to `bound` − 1; the bias is below bound / 2^256."""
        return rank(self.seed, self.item, purpose, counter) % bound

    def choice(self, options: Sequence[T], purpose: str, counter: int = 0) -> T:
        """One of `options`."""
        return options[self.below(len(options), purpose, counter)]

    def sample(self, options: Sequence[T], count: int, purpose: str) -> tuple[T, ...]:
        """`count` different `options`, in drawn order."""
        places = sorted(range(len(options)), key=lambda place: rank(self.seed, self.item, purpose, place))
        return tuple(options[place] for place in places[:count])


def rank(*parts: object) -> int:
    """A number of 256 bits that depends on `parts` alone."""
    return int.from_bytes(hashlib.sha256(canonical_json(["kd.draw/1", *parts])).digest(), "big")


def ordered(options: Sequence[T], seed: int, purpose: str) -> tuple[T, ...]:
    """All `options` in an order drawn by `seed`."""
    return tuple(sorted(options, key=lambda option: rank(seed, purpose, option)))


def visited(size: int, step: int, seed: int, purpose: str) -> int:
    """Where a walk through 0 to `size` − 1 stands at `step`; it meets no place twice within `size` steps."""
    stride = 1 + rank(seed, purpose, "stride") % size
    while math.gcd(stride, size) != 1:
        stride += 1
    return (rank(seed, purpose, "start") + step * stride) % size
