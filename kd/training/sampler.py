"""The order in which rows are seen: position n is row π_e(r) of epoch e = ⌊n/R⌋, r = n mod R, for R rows.

π_e is a Feistel network over the smallest even power of two that holds R, walked until it lands among the rows. It is
invertible: rows follow from steps, and steps from rows, by arithmetic alone, with no state to save.
"""

from __future__ import annotations

import hashlib
import json

__all__ = ["position_of", "row_at"]

_NUM_ROUNDS = 4


def row_at(position: int, num_rows: int, seed: int) -> int:
    """The row seen at `position`."""
    epoch, place = divmod(position, num_rows)
    while True:
        place = _turn(place, num_rows, seed, epoch, is_inverse=False)
        if place < num_rows:
            return place


def position_of(row: int, epoch: int, num_rows: int, seed: int) -> int:
    """The position at which `row` is seen in `epoch`: the inverse of `row_at`."""
    place = row
    while True:
        place = _turn(place, num_rows, seed, epoch, is_inverse=True)
        if place < num_rows:
            return epoch * num_rows + place


def _turn(value: int, num_rows: int, seed: int, epoch: int, *, is_inverse: bool) -> int:
    half_bits = max(1, ((num_rows - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    left, right = value >> half_bits, value & mask
    if is_inverse:
        for number in reversed(range(_NUM_ROUNDS)):
            left, right = right ^ (_round(seed, epoch, number, left) & mask), left
    else:
        for number in range(_NUM_ROUNDS):
            left, right = right, left ^ (_round(seed, epoch, number, right) & mask)
    return left << half_bits | right


def _round(seed: int, epoch: int, number: int, half: int) -> int:
    key = json.dumps(["kd.sampler/1", seed, epoch, number, half]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
