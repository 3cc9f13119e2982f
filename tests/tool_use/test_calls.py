"""Calls in text: one balanced scan finds them, nothing is repaired, and only an equal call equals gold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.dataset.tools import ToolCall, call_text
from kd.tool_use.calls import call_equals_gold, calls_equal_gold, parse_calls

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)
_CALLS = st.builds(ToolCall, name=st.text(min_size=1, max_size=8), arguments=st.dictionaries(st.text(max_size=5), _JSON, max_size=3))


@given(calls=st.lists(_CALLS, max_size=3), gap=st.sampled_from(["", " and then ", "\n", "] , ["]))
def test_calls_are_found_wherever_they_stand(calls: list[ToolCall], gap: str) -> None:
    """Every call that was written is read back, in order, whatever braces and quotes its texts hold."""
    found, malformed = parse_calls(gap.join(["", *map(call_text, calls), ""]))
    assert (found, malformed) == (tuple(calls), ())


@pytest.mark.parametrize(
    ("text", "num_calls", "malformed"),
    [
        ("no call here", 0, ()),
        ('{"a": {"name": "x", "arguments": {}}}', 0, ()),
        ('{"name": "x", "arguments": {"s": "}"}} tail', 1, ()),
        ('{"name": "x"}', 0, ('{"name": "x"}',)),
        ('{"name": 1, "arguments": {}}', 0, ('{"name": 1, "arguments": {}}',)),
        ('{"name": "x", "arguments": {}, "id": 3}', 0, ('{"name": "x", "arguments": {}, "id": 3}',)),
        ('{"name": "x", "name": "y", "arguments": {}}', 0, ('{"name": "x", "name": "y", "arguments": {}}',)),
        ("{'name': 'x'}", 0, ("{'name': 'x'}",)),
        ('{"name": "x", "arguments": {"n": NaN}}', 0, ('{"name": "x", "arguments": {"n": NaN}}',)),
        ('{"name": "x", "arguments": {', 0, ('{"name": "x", "arguments": {',)),
        ('} {"name": "x", "arguments": {}} {"name"', 1, ('{"name"',)),
    ],
)
def test_what_is_no_call_is_told_from_what_was_meant_as_one(text: str, num_calls: int, malformed: tuple[str, ...]) -> None:
    """Other objects are passed over; broken, cut and half calls are counted as malformed."""
    calls, broken = parse_calls(text)
    assert (len(calls), broken) == (num_calls, malformed)


@pytest.mark.parametrize(
    ("found", "gold", "is_equal"),
    [
        ({"n": 4}, {"n": 4.0}, True),
        ({"n": True}, {"n": 1}, False),
        ({"n": 1}, {"n": True}, False),
        ({"n": "4"}, {"n": 4}, False),
        ({"s": "e\u0301 "}, {"s": "é"}, True),
        ({"s": "Oslo"}, {"s": "oslo"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": [1, 1]}, False),
        ({}, {"a": None}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({"o": {"x": 1}}, {"o": {"x": 1}}, True),
    ],
)
def test_arguments_equal_gold_by_value(found: dict[str, Any], gold: dict[str, Any], is_equal: bool) -> None:
    """Numbers compare by value, texts after NFC and outer spaces, truth values are no numbers, and nothing is left over."""
    assert call_equals_gold(ToolCall(name="x", arguments=found), ToolCall(name="x", arguments=gold)) is is_equal


def test_the_tool_counts_too() -> None:
    """The right arguments of the wrong tool, or one call too many, are not right."""
    x, y = ToolCall(name="x", arguments={}), ToolCall(name="y", arguments={})
    assert not call_equals_gold(x, y)
    assert calls_equal_gold((x, y), (x, y))
    assert not calls_equal_gold((x, x), (x,))
    assert not calls_equal_gold((), (x,))


def test_a_deep_object_is_malformed_and_no_crash() -> None:
    """Nesting that no parser takes is one malformed piece."""
    text = '{"name": ' * 50_000 + "}" * 50_000
    assert len(parse_calls(text)[1]) == 1
    assert json.dumps(parse_calls("")) == "[[], []]"
