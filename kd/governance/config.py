"""Settings of the governance stage: the gates, and what an approval is for."""

from __future__ import annotations

from attrs import field, frozen

from kd.bounds import Between
from kd.evidence import GateSet, Purpose

__all__ = ["GovernanceConfig", "WaiverPolicy"]

_DEMANDS: tuple[Purpose, ...] = ("experiment", "internal", "release")
"""From the least demanding to the most."""


@frozen(kw_only=True)
class WaiverPolicy:
    """How far waivers may go."""

    max_active: int = field(default=5, validator=Between(0, 100))
    """Waivers of a run that hold at the same time; with 0 nothing is waived."""
    per_gate: int = field(default=2, validator=Between(1, 100))
    """Of these, for one gate."""
    max_days: int = field(default=90, validator=Between(1, 366))
    """From grant to end."""


@frozen(kw_only=True)
class GovernanceConfig:
    """How a run is judged."""

    gates: GateSet
    """In a configuration file: the path of a YAML file that holds the gates."""
    purpose: Purpose = "experiment"
    waivers: WaiverPolicy = field(factory=WaiverPolicy)

    def __attrs_post_init__(self) -> None:
        if _DEMANDS.index(self.purpose) > _DEMANDS.index(self.gates.purpose):
            raise ValueError(
                f"The purpose is {self.purpose!r}, and the gate set {self.gates.name!r} supports {self.gates.purpose!r} at most:"
                " choose a gate set made for that purpose."
            )
