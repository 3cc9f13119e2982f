"""The tools that ship with kd: what scenarios call and evaluation offers.

Every text argument is bounded, so that a grammar over these tools always ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kd.dataset.canonical import digest_of
from kd.dataset.tools import Tool

__all__ = ["SHIPPED_TOOLS", "registry_digest", "shipped_tool"]


def _text(max_length: int = 48) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": max_length}


def _choice(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _whole(minimum: int, maximum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _tool(name: str, description: str, **properties: dict[str, Any]) -> Tool:
    ordered = dict(sorted(properties.items()))
    parameters = {"type": "object", "properties": ordered, "required": list(ordered), "additionalProperties": False}
    return Tool(name=name, description=description, parameters=parameters)


SHIPPED_TOOLS: tuple[Tool, ...] = (
    _tool("read_file", "read a file", path=_text()),
    _tool("delete_file", "delete a file", path=_text()),
    _tool("move_file", "move a file", source=_text(), target=_text()),
    _tool("web_search", "search the web", query=_text()),
    _tool("get_weather", "weather of a city", city=_text(), day=_choice("today", "tomorrow")),
    _tool("run_code", "run a line of code", code=_text(), language=_choice("python", "bash", "ruby")),
    _tool("send_message", "send a text to a person", text=_text(), to=_text()),
    _tool("set_timer", "start a timer", label=_text(), minutes=_whole(1, 999)),
    _tool("tag_note", "put tags on a note", note=_text(), tags={"type": "array", "items": _text(24), "minItems": 1, "maxItems": 3}),
    _tool("translate", "translate a text", language=_choice("French", "German", "Spanish"), text=_text()),
)

_BY_NAME: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in SHIPPED_TOOLS})


def shipped_tool(name: str) -> Tool:
    """The shipped tool called `name`; KeyError if there is none."""
    return _BY_NAME[name]


def registry_digest() -> str:
    """SHA-256 over all shipped tools: two registries are equal iff their digests are."""
    return digest_of(SHIPPED_TOOLS)
