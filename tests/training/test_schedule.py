"""The learning rate."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.training.config import OptimizerConfig, TrainingConfig
from kd.training.schedule import learning_rate

CONFIG = TrainingConfig(steps=100, optimizer=OptimizerConfig(lr=1e-3), warmup_fraction=0.1, floor_fraction=0.01)


def test_the_rate_rises_to_its_peak_and_falls_to_its_floor() -> None:
    """Linear over the warm-up, half a cosine after it."""
    assert learning_rate(CONFIG, 1) == pytest.approx(1e-4)
    assert learning_rate(CONFIG, 10) == pytest.approx(1e-3)
    assert learning_rate(CONFIG, 55) == pytest.approx(1e-3 * (0.01 + 0.99 / 2))
    assert learning_rate(CONFIG, 100) == pytest.approx(1e-5)


def test_a_constant_rate_stays_at_its_peak() -> None:
    """After the warm-up nothing changes."""
    config = replace(CONFIG, schedule="constant")
    assert {learning_rate(config, step) for step in range(10, 101)} == {1e-3}


def test_without_warm_up_the_first_step_has_almost_the_peak() -> None:
    """A warm-up of no steps divides by nothing."""
    assert learning_rate(replace(CONFIG, warmup_fraction=0.0), 1) == pytest.approx(1e-3, rel=1e-3)


def test_a_single_step_is_all_warm_up() -> None:
    """One step runs at the peak."""
    assert learning_rate(replace(CONFIG, steps=1), 1) == pytest.approx(1e-3)
