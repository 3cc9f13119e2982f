"""Settings of the evaluation stage: which suites run, and on how many held-out items."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from kd.bounds import Between

__all__ = ["EvaluationConfig", "LmConfig", "SpeedConfig", "SuiteName", "ToolUseConfig"]

SuiteName = Literal["lm", "tool_use", "speed"]


def _check_suites(_instance: object, _attribute: object, suites: tuple[str, ...]) -> None:
    if not suites or len(set(suites)) != len(suites):
        raise ValueError(f"suites is {list(suites)}, expected at least one suite and each only once.")


@frozen(kw_only=True)
class LmConfig:
    """Held-out likelihood and divergence from the teacher."""

    max_items: int = field(default=64, validator=Between(1, 800))
    """At most so many samples of the test split, the first in order of SHA-256(sample id)."""


@frozen(kw_only=True)
class ToolUseConfig:
    """Tool calls of the exported student, decoded greedily with and without a grammar."""

    max_items: int = field(default=24, validator=Between(1, 400))
    """At most so many tool-use samples of the test split."""
    max_new_tokens: int = field(default=64, validator=Between(1, 2048))
    grammar: Literal["schema", "grounded"] = "schema"
    """What binds the arm `constrained`: the tools' schemas, or also that string arguments are quoted from the context."""


@frozen(kw_only=True)
class SpeedConfig:
    """Latency and throughput of the exported student, one request at a time."""

    num_requests: int = field(default=12, validator=Between(11, 200))
    """A median needs at least 11 requests."""
    num_warm_ups: int = field(default=3, validator=Between(1, 20))
    """Requests before the first timed one, which are not timed."""
    num_new_tokens: int = field(default=16, validator=Between(2, 512))


@frozen(kw_only=True)
class EvaluationConfig:
    """What is evaluated."""

    suites: tuple[SuiteName, ...] = field(default=("lm", "tool_use", "speed"), validator=_check_suites)
    threads: int = field(default=2, validator=Between(1, 256))
    """Threads of torch and of ONNX Runtime."""
    lm: LmConfig = LmConfig()
    tool_use: ToolUseConfig = ToolUseConfig()
    speed: SpeedConfig = SpeedConfig()
