"""Settings of the governance stage: the gates, and what an approval is for."""

from __future__ import annotations

from attrs import frozen

from kd.evidence import GateSet, Purpose

__all__ = ["GovernanceConfig"]

_DEMANDS: tuple[Purpose, ...] = ("experiment", "internal", "release")
"""From the least demanding to the most."""


@frozen(kw_only=True)
class GovernanceConfig:
    """How a run is judged."""

    gates: GateSet
    """In a configuration file: the path of a YAML file that holds the gates."""
    purpose: Purpose = "experiment"

    def __attrs_post_init__(self) -> None:
        if _DEMANDS.index(self.purpose) > _DEMANDS.index(self.gates.purpose):
            raise ValueError(
                f"The purpose is {self.purpose!r}, and the gate set {self.gates.name!r} supports {self.gates.purpose!r} at most:"
                " choose a gate set made for that purpose."
            )
