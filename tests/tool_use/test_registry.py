"""The shipped tools: bounded, distinct, and valid calls are told from invalid ones."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kd.dataset.tools import ToolCall
from kd.tool_use.registry import SHIPPED_TOOLS, registry_digest, shipped_tool
from kd.tool_use.validity import call_is_valid, call_problem


def test_shipped_tools_are_bounded_schemas() -> None:
    """Every text and list has a longest length, so a grammar over any shipped tool ends."""
    for tool in SHIPPED_TOOLS:
        Draft202012Validator.check_schema(tool.parameters)
        for schema in tool.parameters["properties"].values():
            assert "enum" in schema or "maxLength" in schema or "maximum" in schema or "maxItems" in schema


def test_names_are_distinct_and_lead_to_their_tools() -> None:
    """A name is one tool."""
    assert [shipped_tool(tool.name) for tool in SHIPPED_TOOLS] == list(SHIPPED_TOOLS)
    assert len({tool.name for tool in SHIPPED_TOOLS}) == len(SHIPPED_TOOLS) >= 6


def test_the_registry_digest_names_its_content() -> None:
    """The digest is stable and covers each tool."""
    assert registry_digest() == registry_digest()
    assert len({tool.digest for tool in SHIPPED_TOOLS}) == len(SHIPPED_TOOLS)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("set_timer", {"label": "tea", "minutes": 4}, None),
        ("set_timer", {"label": "tea", "minutes": "4"}, "/minutes"),
        ("set_timer", {"label": "tea", "minutes": True}, "/minutes"),
        ("set_timer", {"label": "tea", "minutes": 0}, "/minutes"),
        ("set_timer", {"label": "tea"}, "minutes"),
        ("set_timer", {"label": "tea", "minutes": 4, "unit": "s"}, "unit"),
        ("get_weather", {"city": "Oslo", "day": "yesterday"}, "/day"),
        ("tag_note", {"note": "car", "tags": ["a", "b", "c", "d"]}, "/tags"),
        ("launch", {}, "unknown tool"),
    ],
)
def test_calls_are_held_against_their_schema(name: str, arguments: dict[str, Any], problem: str | None) -> None:
    """JSON Schema 2020-12, strictly: wrong types, bounds, missing and unknown arguments are invalid, and the reason says which."""
    call = ToolCall(name=name, arguments=arguments)
    found = call_problem(call, SHIPPED_TOOLS)
    assert (found is None) is (problem is None)
    assert (problem or "") in (found or "")
    assert call_is_valid(call, SHIPPED_TOOLS) is (problem is None)


def test_a_tool_that_is_not_offered_is_unknown() -> None:
    """Validity is relative to the tools on offer."""
    assert not call_is_valid(ToolCall(name="read_file", arguments={"path": "a"}), [shipped_tool("set_timer")])
