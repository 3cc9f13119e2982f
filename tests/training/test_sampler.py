"""The order of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kd.training.sampler import position_of, row_at

_SMALL = st.integers(1, 70)


@given(_SMALL, st.integers(0, 2**63), st.integers(0, 5))
def test_every_epoch_sees_every_row_once(num_rows: int, seed: int, epoch: int) -> None:
    """An epoch is a permutation of the rows."""
    rows = [row_at(epoch * num_rows + place, num_rows, seed) for place in range(num_rows)]
    assert sorted(rows) == list(range(num_rows))


@given(st.integers(1, 5000), st.integers(0, 2**63), st.integers(0, 10**6))
def test_rows_lead_back_to_positions(num_rows: int, seed: int, position: int) -> None:
    """`position_of` undoes `row_at`."""
    row = row_at(position, num_rows, seed)
    assert position_of(row, position // num_rows, num_rows, seed) == position


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Another epoch or seed gives another order."""
    orders = {tuple(row_at(epoch * 50 + place, 50, seed) for place in range(50)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


def test_the_order_is_the_same_for_ever() -> None:
    """Recorded runs depend on it."""
    assert [row_at(position, 10, 42) for position in range(10)] == [4, 3, 5, 6, 1, 8, 7, 0, 9, 2]
