"""Rotary positions."""

from __future__ import annotations

import torch

from kd.models.rope import rotary_tables, turn


def test_angles_are_position_times_inverse_frequency() -> None:
    """Element i of position p has the angle p · θ^(−2i/D), in both halves."""
    cos_PD, sin_PD = rotary_tables(8, 50, 10000.0)
    exponents = torch.arange(4, dtype=torch.float64) * 2 / 8
    angles = torch.outer(torch.arange(50, dtype=torch.float64), 10000.0**-exponents).repeat(1, 2)
    assert torch.allclose(cos_PD.double(), angles.cos(), atol=5e-6)
    assert torch.allclose(sin_PD.double(), angles.sin(), atol=5e-6)


def test_a_score_depends_on_the_distance_alone() -> None:
    """Query and key turned by p and p − n give the same product for every p."""
    cos_PD, sin_PD = rotary_tables(16, 64, 10000.0)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator)

    def score(at_query: int, at_key: int) -> float:
        turned = turn(query, cos_PD[None, [at_query]], sin_PD[None, [at_query]])
        return float((turned * turn(key, cos_PD[None, [at_key]], sin_PD[None, [at_key]])).sum())

    assert abs(score(9, 4) - score(55, 50)) < 1e-4
    assert abs(score(9, 4) - score(9, 5)) > 1e-3


def test_tables_do_not_depend_on_how_long_they_are() -> None:
    """A longer table begins with the shorter one, bit for bit."""
    short, long = rotary_tables(32, 100, 5e5), rotary_tables(32, 300, 5e5)
    assert all(torch.equal(a, b[:100]) for a, b in zip(short, long, strict=True))
