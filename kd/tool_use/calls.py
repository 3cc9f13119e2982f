"""Finding calls in text and holding them against the right ones.

A call is a JSON object with a string `name` and an object `arguments`. One scan over balanced braces finds every outermost
object, respecting strings and escapes; nothing is repaired.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from kd.dataset.tools import ToolCall

__all__ = ["call_equals_gold", "calls_equal_gold", "parse_calls"]


def parse_calls(text: str) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """The calls in `text`, in order, and the pieces that look like calls but are none.

    Malformed are: balanced objects that are not JSON, that repeat a key, or that have a `name` or `arguments` but not exactly both
    in the right types; and an object that is opened but never closed.
    """
    calls: list[ToolCall] = []
    malformed: list[str] = []
    for piece, is_closed in _objects(text):
        value = _parsed(piece) if is_closed else None
        call = _as_call(value)
        if call is not None:
            calls.append(call)
        elif not isinstance(value, dict) or value.keys() & {"name", "arguments"}:
            malformed.append(piece)
    return tuple(calls), tuple(malformed)


def call_equals_gold(call: ToolCall, gold: ToolCall) -> bool:
    """Same tool and same arguments: texts equal after NFC and outer spaces, numbers by value, `true` is no number."""
    return call.name == gold.name and _is_equal(call.arguments, gold.arguments)


def calls_equal_gold(calls: Sequence[ToolCall], gold: Sequence[ToolCall]) -> bool:
    """Equal in number, and each equal to the gold call at its place."""
    return len(calls) == len(gold) and all(call_equals_gold(a, b) for a, b in zip(calls, gold, strict=True))


def _objects(text: str) -> Iterator[tuple[str, bool]]:
    depth, start, is_in_string, is_escaped = 0, 0, False, False
    for position, character in enumerate(text):
        if is_in_string:
            is_in_string = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif depth and character == '"':
            is_in_string = True
        elif character == "{":
            start = start if depth else position
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                yield text[start : position + 1], True
    if depth:
        yield text[start:], False


def _parsed(piece: str) -> object:
    try:
        return json.loads(piece, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _as_call(value: object) -> ToolCall | None:
    match value:
        case {"name": str(name), "arguments": dict(arguments), **rest} if not rest:
            return ToolCall(name=name, arguments=arguments)
        case _:
            return None


def _is_equal(found: object, gold: object) -> bool:
    if isinstance(found, bool) or isinstance(gold, bool):
        return found is gold
    if isinstance(found, dict) and isinstance(gold, dict):
        return found.keys() == gold.keys() and all(_is_equal(found[key], gold[key]) for key in gold)
    if isinstance(found, list) and isinstance(gold, list):
        return len(found) == len(gold) and all(_is_equal(a, b) for a, b in zip(found, gold, strict=True))
    if isinstance(found, str) and isinstance(gold, str):
        return unicodedata.normalize("NFC", found).strip() == unicodedata.normalize("NFC", gold).strip()
    if isinstance(found, int | float) and isinstance(gold, int | float):
        return math.isfinite(found) and found == gold
    return found is None and gold is None
