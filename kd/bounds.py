"""A validator for numbers of a configuration, whose message is a sentence."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, frozen

__all__ = ["Between"]


@frozen
class Between:
    """A number from `low` to `high`, or with no upper end; None passes."""

    low: float
    high: float | None = None

    def __call__(self, _instance: object, attribute: Attribute[Any], value: float | None) -> None:
        if value is None or (self.low <= value and (self.high is None or value <= self.high)):
            return
        bounds = f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"
        raise ValueError(f"{attribute.name} is {value}, expected {bounds}: choose a value in that range.")
