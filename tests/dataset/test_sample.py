"""Samples: content gives the id, and only clean text enters."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.dataset.sample import Message, Sample, Segment, sample_from_json, sample_to_json, samples_from_jsonl, samples_to_jsonl
from kd.dataset.tools import Tool, ToolCall, call_text
from kd.errors import DigestMismatchError
from tests.dataset.rows import sample

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=("Cs", "Mn", "Co")), max_size=40)


def _is_clean(text: str) -> bool:
    try:
        Message(role="user", content=text)
    except ValueError:
        return False
    return True


@given(prompt=_TEXT.filter(_is_clean), answer=_TEXT.filter(_is_clean))
def test_a_sample_survives_its_json(prompt: str, answer: str) -> None:
    """Reading what was written gives an equal sample, whatever the text."""
    one = sample(prompt=prompt, answer=answer)
    assert sample_from_json(sample_to_json(one)) == one
    assert samples_from_jsonl(samples_to_jsonl((one, one))) == (one, one)


def test_equal_content_has_equal_id_whatever_its_origin() -> None:
    """The id is a digest of context, tools and target alone."""
    assert sample(index=1).id == sample(index=2).id
    assert sample(answer="other").id != sample().id
    assert sample(has_eos=False).id != sample().id


@pytest.mark.parametrize("key", ["messages", "segments", "tools"])
def test_altered_content_is_found_by_its_id(key: str) -> None:
    """A row whose content no longer fits its id is refused."""
    data = json.loads(sample_to_json(sample(tools=(_tool(),))))
    data[key][0]["name" if key == "tools" else "content" if key == "messages" else "text"] += "x"
    with pytest.raises(DigestMismatchError, match=sample(tools=(_tool(),)).id):
        sample_from_json(json.dumps(data).encode())


@pytest.mark.parametrize("text", ["a\r\nb", "e\u0301"])
def test_text_that_is_not_normal_is_refused(text: str) -> None:
    """NFC and line feeds alone: bytes of a target are then a function of what is seen."""
    with pytest.raises(ValueError, match="NFC"):
        Segment(kind="text", text=text)


def test_the_target_is_the_joined_segments() -> None:
    """An end of sequence has no text of its own and says that the answer ends."""
    one = sample(answer="yes")
    assert (one.target, one.has_eos) == ("yes", True)
    assert not sample(answer="yes", has_eos=False).has_eos


def test_calls_have_one_spelling() -> None:
    """Arguments are written in order of name, so text, schema and grammar agree."""
    call = ToolCall(name="go", arguments={"to": "é", "at": 1})
    assert call_text(call) == '{"name": "go", "arguments": {"at": 1, "to": "é"}}'
    assert json.loads(call_text(call)) == {"name": "go", "arguments": call.arguments}


def test_a_tool_has_its_properties_in_order() -> None:
    """A schema whose properties stand in another order is refused, since sorted JSON would change it."""
    with pytest.raises(ValueError, match="in order of name"):
        Tool(name="go", description="", parameters={"type": "object", "properties": {"b": {}, "a": {}}})


def _tool() -> Tool:
    return Tool(name="go", description="go", parameters={"type": "object", "properties": {"to": {"type": "string"}}})


def test_samples_are_frozen_and_hold_tuples() -> None:
    """Whoever holds a sample holds a value."""
    one: Sample = sample()
    assert isinstance(one.messages, tuple)
    with pytest.raises(AttributeError):
        one.split = "test"  # type: ignore[misc]
