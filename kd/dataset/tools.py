"""Tools that a model may call, and calls of them, as plain values with one spelling each.

Properties and arguments stand in order of name, so that sorted JSON, the grammar of a call and its text agree.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import field, frozen, validators

from kd.dataset.canonical import digest_of

__all__ = ["Tool", "ToolCall", "call_text"]

_NAME = r"[a-z][a-z0-9_]{0,63}"


@frozen(kw_only=True)
class Tool:
    """A function that a model may call."""

    name: str = field(validator=validators.matches_re(_NAME))
    description: str
    parameters: dict[str, Any] = field()
    """JSON Schema (2020-12) of the arguments: an object, its properties in order of name."""

    @parameters.validator
    def _check_parameters(self, _attribute: object, parameters: dict[str, Any]) -> None:
        names = list(parameters.get("properties", {}))
        if parameters.get("type") != "object" or names != sorted(names):
            raise ValueError(f"Parameters of tool {self.name!r} must be an object schema with properties in order of name, got {names}.")

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of name, description and parameters."""
        return digest_of(self)


@frozen(kw_only=True)
class ToolCall:
    """One call: which tool, with which arguments."""

    name: str
    arguments: dict[str, Any]


def call_text(call: ToolCall) -> str:
    """`call` as models are taught to write it: name first, then arguments in order of name, one space after colons and commas."""
    arguments = json.dumps(call.arguments, ensure_ascii=False, sort_keys=True)
    return f'{{"name": {json.dumps(call.name)}, "arguments": {arguments}}}'
