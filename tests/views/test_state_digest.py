"""One digest for a whole state."""

from __future__ import annotations

import attrs

from kd.views.state_digest import state_digest


@attrs.frozen(kw_only=True)
class Counting:
    """A state."""

    num_steps: int
    losses_nats: tuple[float, ...] = ()


def test_a_field_that_a_later_release_adds_leaves_the_digest_alone() -> None:
    """A state with one more field, at its default, has the digest it had before."""
    later = attrs.make_class("Counting", {"num_steps": attrs.field(), "note": attrs.field(default=""), "seen": attrs.field(factory=dict)})
    assert state_digest(Counting(num_steps=3)) == state_digest(later(num_steps=3))


def test_every_value_that_is_not_a_default_counts() -> None:
    """States that differ anywhere have different digests, also where a float differs in its last bit."""
    states = [
        Counting(num_steps=3),
        Counting(num_steps=4),
        Counting(num_steps=3, losses_nats=(0.1,)),
        Counting(num_steps=3, losses_nats=(0.1 + 2**-56,)),
    ]
    assert len({state_digest(state) for state in states}) == len(states)
