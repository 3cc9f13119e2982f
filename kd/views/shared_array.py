"""Numbers that only grow and are shared by every state of a fold: a state knows how many of them are its own.

Folding the same records again, after going back to an older state, finds its numbers already there. Only another future makes a copy.
"""

from __future__ import annotations

from array import array
from typing import TypeVar

__all__ = ["continued"]

N = TypeVar("N", int, float)


def continued(numbers: array[N], length: int, more: array[N]) -> array[N]:
    """An array whose first `length` numbers are those of `numbers`, with `more` behind them: `numbers` itself if it can be that."""
    there = numbers[length : length + len(more)]
    num_there = len(there)
    if there.tobytes() != (more if num_there == len(more) else more[:num_there]).tobytes():
        return numbers[:length] + more
    if num_there < len(more):
        numbers.extend(more[num_there:] if num_there else more)
    return numbers
