"""Whether a call fits the tools on offer, by JSON Schema 2020-12; unknown arguments are invalid."""

from __future__ import annotations

from collections.abc import Sequence

from jsonschema import Draft202012Validator

from kd.dataset.tools import Tool, ToolCall

__all__ = ["call_is_valid", "call_problem"]


def call_is_valid(call: ToolCall, tools: Sequence[Tool]) -> bool:
    """`call` names one of `tools` and its arguments satisfy that tool's parameters."""
    return call_problem(call, tools) is None


def call_problem(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    """Why `call` is invalid, in one line, or None."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"unknown tool {call.name!r}"
    closed = {"additionalProperties": False, **tool.parameters}
    errors = sorted(Draft202012Validator(closed).iter_errors(call.arguments), key=lambda error: list(map(str, error.absolute_path)))
    if not errors:
        return None
    pointer = "/".join(["", *map(str, errors[0].absolute_path)])
    return f"argument {pointer or '/'}: {errors[0].message}"
