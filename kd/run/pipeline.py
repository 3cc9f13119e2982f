"""What follows what: the command that starts the stage that is due. Pure."""

from __future__ import annotations

from kd.run.config import RunConfig
from kd.run.stages import STAGES, stage_named
from kd.run.states import Plan, outputs_of

__all__ = ["STAGE_ORDER", "start_command"]

STAGE_ORDER: tuple[str, ...] = tuple(stage.name for stage in STAGES)


def start_command(plan: Plan, stage: str) -> object:
    """The command that begins `stage`: its settings, everything earlier stages handed over, and the run's seed."""
    return stage_named(stage).start(_settings(plan.config, stage), outputs_of(plan), plan.config.seed)


def _settings(config: RunConfig, stage: str) -> object:
    return getattr(config, stage)
