"""The shape of a pure state machine: decide, evolve, pending.

`decide(command, state)` answers with the events that may happen now or raises `CommandRejectedError`;
`evolve(state, event)` says what is so afterwards and never raises for an event that was once recorded;
`pending(state)` names the work the state still asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from attrs import frozen

from ledger.errors import UnknownEventError
from ledger.record import UnknownEvent

__all__ = ["Decider", "fold"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
W = TypeVar("W")


@frozen(kw_only=True)
class Decider(Generic[C, S, E, W]):
    """A state machine as four values; it has no clock, randomness or I/O."""

    initial: S
    decide: Callable[[C, S], Sequence[E]]
    evolve: Callable[[S, E], S]
    pending: Callable[[S], W | None]


def fold(decider: Decider[C, S, E, W], events: Iterable[E], start: S | None = None) -> S:
    """The state after `events`, from `start` or from the initial state.

    Raises UnknownEventError at an event that this program has no class for: the state after it cannot be known.
    """
    state = decider.initial if start is None else start
    for event in events:
        if isinstance(event, UnknownEvent):
            raise UnknownEventError(event.name, event.version)
        state = decider.evolve(state, event)
    return state
