"""The six stages in their order, as the runner, the pipeline and the views see them."""

from __future__ import annotations

from kd.conversion.machine import STAGE as CONVERSION
from kd.evaluation.machine import STAGE as EVALUATION
from kd.export.machine import STAGE as EXPORT
from kd.generation.machine import STAGE as GENERATION
from kd.governance.machine import STAGE as GOVERNANCE
from kd.stage import Stage
from kd.training.machine import STAGE as TRAINING

__all__ = ["STAGES", "run_stream", "stage_named", "stage_stream"]

STAGES: tuple[Stage, ...] = (GENERATION, TRAINING, EXPORT, CONVERSION, EVALUATION, GOVERNANCE)


def stage_named(name: str) -> Stage:
    """The stage called `name`; KeyError if there is none."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise KeyError(name)


def run_stream(run: str) -> str:
    """The stream of the run itself."""
    return f"run/{run}"


def stage_stream(run: str, stage: str) -> str:
    """The stream of one stage of the run."""
    return f"run/{run}/{stage}"
