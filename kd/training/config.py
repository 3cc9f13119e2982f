"""Settings of the training stage: which student, from which weights, on which losses, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve as replace
from attrs import field, fields, frozen

from kd.bounds import Between
from kd.models.architecture import Architecture

__all__ = [
    "CheckpointConfig",
    "LossConfig",
    "OptimizerConfig",
    "StudentConfig",
    "TermConfig",
    "TrainingConfig",
    "ValidateConfig",
    "student_architecture",
]

_COUNT = Between(1)
_OPEN_WEIGHT = 0.2
"""Weight of a term that the settings leave open."""


@frozen(kw_only=True)
class StudentConfig:
    """The student's shape; what is left out is as in the teacher. Vocabulary and tokenizer are always the teacher's."""

    num_layers: int | None = field(default=None, validator=_COUNT)
    hidden_size: int | None = field(default=None, validator=_COUNT)
    num_heads: int | None = field(default=None, validator=_COUNT)
    num_kv_heads: int | None = field(default=None, validator=_COUNT)
    head_dim: int | None = field(default=None, validator=_COUNT)
    intermediate_size: int | None = field(default=None, validator=_COUNT)
    max_context_tokens: int | None = field(default=None, validator=_COUNT)
    rope_theta: float | None = field(default=None, validator=Between(1.0))
    is_tied: bool | None = None


@frozen(kw_only=True)
class TermConfig:
    """One term of the loss."""

    weight: float | None = field(default=None, validator=Between(0.0))
    """Factor of the term's mean over its tokens; 0 leaves it out. Left open, it is 0.2, or 0 where no row has such tokens."""


@frozen(kw_only=True)
class LossConfig:
    """The loss: a weighted sum of means over tokens, in nats."""

    kd: TermConfig = field(default=TermConfig(weight=0.6))
    """Forward KL(teacher || student) where the teacher's distribution is stored."""
    ce_teacher: TermConfig = field(factory=TermConfig)
    """Cross-entropy on tokens that the teacher wrote."""
    ce_truth: TermConfig = field(factory=TermConfig)
    """Cross-entropy on tokens of targets known to be right."""
    temperature: float = field(default=1.0)
    chunk_bytes: int = field(default=64 * 2**20, validator=Between(2**16))
    """Memory for one chunk of logits."""

    @temperature.validator
    def _check_temperature(self, _attribute: object, temperature: float) -> None:
        if temperature != 1.0:
            raise ValueError(
                f"temperature is {temperature}, expected 1: the stored teacher distributions are sparse and unbiased at 1 only; remove it."
            )

    def __attrs_post_init__(self) -> None:
        if not any(self.weights({"kd": 1, "ce_teacher": 1, "ce_truth": 1}).values()):
            raise ValueError("The weights of kd, ce_teacher and ce_truth are all 0, expected something to learn: raise one of them.")

    def weights(self, num_tokens: Mapping[str, int]) -> dict[str, float]:
        """The weight of each term by name, for data that has so many tokens for each."""
        terms = {"kd": self.kd, "ce_teacher": self.ce_teacher, "ce_truth": self.ce_truth}
        return {name: (_OPEN_WEIGHT if num_tokens[name] else 0.0) if term.weight is None else term.weight for name, term in terms.items()}


@frozen(kw_only=True)
class OptimizerConfig:
    """AdamW; decay applies to matrices only, not to norms and embeddings."""

    lr: float = field(default=2e-4, validator=Between(1e-9, 1.0))
    """Peak learning rate."""
    beta1: float = field(default=0.9, validator=Between(0.0, 0.9999))
    beta2: float = field(default=0.95, validator=Between(0.0, 0.99999))
    eps: float = field(default=1e-8, validator=Between(1e-16, 1.0))
    weight_decay: float = field(default=0.1, validator=Between(0.0))


@frozen(kw_only=True)
class CheckpointConfig:
    """A checkpoint is written at whichever of the two comes first, and when the run is asked to pause."""

    every_steps: int = field(default=500, validator=_COUNT)
    every_seconds: float = field(default=900.0, validator=Between(0.0))


@frozen(kw_only=True)
class ValidateConfig:
    """How often the student is measured on the validation split; it always is after the last step."""

    every_steps: int = field(default=500, validator=_COUNT)
    rows: int = field(default=256, validator=_COUNT)
    """At most so many rows, the first in order of id."""


@frozen(kw_only=True)
class TrainingConfig:
    """All settings of the stage."""

    init: Literal["random", "teacher"] = "random"
    """`random`: weights drawn from the seed; `teacher`: `student.num_layers` evenly spaced layers of the teacher."""
    student: StudentConfig = field(factory=StudentConfig)
    steps: int = field(validator=_COUNT)
    """Optimiser steps."""
    batch_tokens: int = field(default=16384, validator=_COUNT)
    """Tokens of the rows of one step, prompts included; at least one row is taken."""
    micro_batch_tokens: int = field(default=4096, validator=_COUNT)
    """Tokens of one forward pass, padding included; changes memory and speed, not the result."""
    length: int = field(default=1024, validator=Between(2))
    """Longer rows are left out and counted; an answer is never cut."""
    loss: LossConfig = field(factory=LossConfig)
    optimizer: OptimizerConfig = field(factory=OptimizerConfig)
    clip_norm: float = field(default=1.0, validator=Between(1e-6))
    """Largest global norm of the gradient."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: float = field(default=0.05, validator=Between(0.0, 1.0))
    """Share of the steps over which the learning rate rises."""
    floor_fraction: float = field(default=0.01, validator=Between(0.0, 1.0))
    """Share of the peak learning rate at which `cosine` ends."""
    checkpoint: CheckpointConfig = field(factory=CheckpointConfig)
    validate: ValidateConfig = field(factory=ValidateConfig)
    threads: int = field(default=2, validator=Between(1, 256))
    """Processor threads; part of what makes the numbers reproducible."""

    def __attrs_post_init__(self) -> None:
        given = [key for key in _shape(self.student) if key != "num_layers"]
        if self.init == "teacher" and given:
            raise ValueError(
                f"student.{given[0]} is given, but init is 'teacher', whose layers keep their shape: set only student.num_layers,"
                " or init to 'random'."
            )


def student_architecture(config: TrainingConfig, teacher: Architecture) -> Architecture:
    """The student's shape; ValueError if its parts do not fit together."""
    return replace(teacher, **_shape(config.student))


def _shape(student: StudentConfig) -> dict[str, Any]:
    values = {attribute.name: getattr(student, attribute.name) for attribute in fields(StudentConfig)}
    return {name: value for name, value in values.items() if value is not None}
