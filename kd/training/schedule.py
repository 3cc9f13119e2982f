"""The learning rate as a pure function of settings and step."""

from __future__ import annotations

import math

from kd.training.config import TrainingConfig

__all__ = ["learning_rate"]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The learning rate of optimiser step `step`, counted from 1.

    It rises linearly over the warm-up to its peak; `cosine` then falls along half a cosine to its floor at the last step.
    """
    peak = config.optimizer.lr
    num_warmup = math.ceil(config.warmup_fraction * config.steps)
    if step <= num_warmup:
        return peak * step / num_warmup
    if config.schedule == "constant":
        return peak
    done = (step - num_warmup) / (config.steps - num_warmup)
    return peak * (config.floor_fraction + (1 - config.floor_fraction) * 0.5 * (1 + math.cos(math.pi * done)))
