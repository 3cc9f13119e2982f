"""Grammars of tool calls: whatever the masks let through is a valid call, in the spelling that models are taught."""

from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest

from kd.dataset.tools import Tool, ToolCall, call_text
from kd.models.grammar import GrammarState, TokenGrammar, tool_call_grammar
from kd.models.schema_grammar import GrammarError, bounded_schema, json_schema_grammar
from tests.models.serving import small_tokenizer

TOKENIZER = small_tokenizer()
CONTEXT = 'Please open "notes.txt" in C:\\dir.\nÜber alles, then set a timer.'


def tool(name: str, properties: dict[str, Any], required: list[str] | None = None) -> Tool:
    names = list(properties) if required is None else required
    return Tool(
        name=name, description="", parameters={"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    )


TEXT = {"type": "string", "minLength": 1, "maxLength": 30}
TOOLS = (
    tool("read_file", {"path": TEXT}),
    tool("set_timer", {"minutes": {"type": "integer", "minimum": 1, "maximum": 60}, "sound": {"enum": ["bell", "horn"]}}, ["minutes"]),
    tool(
        "tag",
        {"deep": {"type": "object", "properties": {"x": {"type": "boolean"}}}, "tags": {"type": "array", "items": TEXT, "maxItems": 2}},
        [],
    ),
)


def walk(grammar: str, text: str) -> GrammarState | None:
    """The state after `text`, or None if the grammar forbids a token of it."""
    state = TokenGrammar(TOKENIZER, grammar).start()
    for token in TOKENIZER.encode(text):
        if not state.mask()[token]:
            return None
        state.advance(token)
    return state


def accepts(grammar: str, text: str) -> bool:
    state = walk(grammar, text)
    return state is not None and state.is_accepting


def call(name: str, **arguments: Any) -> str:
    return call_text(ToolCall(name=name, arguments=arguments))


SCHEMA = tool_call_grammar(TOOLS, mode="schema")
GROUNDED = tool_call_grammar(TOOLS, mode="grounded", context=CONTEXT)


@pytest.mark.parametrize(
    "text",
    [
        call("read_file", path="anything at all"),
        call("set_timer", minutes=60),
        call("set_timer", minutes=1, sound="horn"),
        call("tag"),
        call("tag", tags=[]),
        call("tag", deep={"x": True}, tags=["a", "b"]),
        call("tag", tags=["a"]),
    ],
)
def test_valid_calls_fit(text: str) -> None:
    """A valid call in the taught spelling fits, optional arguments present or absent."""
    assert accepts(SCHEMA, text)


@pytest.mark.parametrize(
    "text",
    [
        call("read_file"),
        call("read_file", path=""),
        call("read_file", path="x" * 31),
        call("set_timer", minutes=61),
        call("set_timer", minutes=1, sound="drum"),
        call("tag", tags=["a", "b", "c"]),
        call("tag", other=1),
        call("unknown"),
        call("read_file", path="a").replace(": ", ":"),
        call("read_file", path="a") + "}",
        "Sure, " + call("read_file", path="a"),
    ],
)
def test_invalid_calls_do_not_fit(text: str) -> None:
    """What breaks the schema or the spelling, or stands around the call, does not fit."""
    assert not accepts(SCHEMA, text)


@pytest.mark.parametrize(("path", "is_grounded"), [
    ("notes.txt", True), ('"notes.txt"', True), ("C:\\dir", True), ("Über alles", True), ("set a timer", True),
    ("notes", True), ("otes", False), ("dir.\nÜber", False), ("elsewhere", False), ("a timer set", False), (" in", False),
])  # fmt: skip
def test_grounded_texts_stand_in_the_context(path: str, is_grounded: bool) -> None:
    """A grounded text is a run of whole words of one line of the context, quotes and backslashes included."""
    assert accepts(GROUNDED, call("read_file", path=path)) is is_grounded


def test_enumerations_need_no_ground() -> None:
    """Members of an enumeration, numbers and truth values need not stand in the context."""
    assert accepts(GROUNDED, call("set_timer", minutes=7, sound="bell"))
    assert accepts(GROUNDED, call("tag", deep={"x": False}))


def test_a_planned_call_is_of_the_planned_tool() -> None:
    """The planned tool alone can be called."""
    planned = tool_call_grammar(TOOLS, mode="planned", context=CONTEXT, tool="set_timer")
    assert accepts(planned, call("set_timer", minutes=5))
    assert not accepts(planned, call("read_file", path="notes.txt"))
    with pytest.raises(GrammarError, match="No tool called 'fly' is offered"):
        tool_call_grammar(TOOLS, mode="planned", context=CONTEXT, tool="fly")


def test_the_end_is_allowed_only_where_the_grammar_is_satisfied() -> None:
    """EOS is masked inside a call, and the only choice after it."""
    text = call("read_file", path="a")
    inside, done = walk(SCHEMA, text[:-1]), walk(SCHEMA, text)
    assert inside is not None
    assert done is not None
    assert (inside.is_accepting, inside.is_finished, bool(inside.mask()[TOKENIZER.eos_id])) == (False, False, False)
    assert (done.is_accepting, done.is_finished) == (True, True)
    assert np.flatnonzero(done.mask()).tolist() == [TOKENIZER.eos_id]
    assert done.forced_tokens() == ()


def test_forced_tokens_are_what_must_follow() -> None:
    """Bytes that nothing can replace come as tokens at once; where there is a choice there are none."""
    planned = tool_call_grammar(TOOLS, mode="planned", context=CONTEXT, tool="set_timer")
    state = TokenGrammar(TOKENIZER, planned).start()
    forced = state.forced_tokens()
    assert TOKENIZER.decode(forced).startswith('{"name": "set_timer", "arguments": {"minutes": ')
    for token in forced:
        state.advance(token)
    assert state.forced_tokens() == ()


def test_a_forbidden_token_is_refused() -> None:
    """Taking a token that the mask forbids is an error, not a silent repair."""
    with pytest.raises(GrammarError, match="not what the grammar allows"):
        TokenGrammar(TOKENIZER, SCHEMA).start().advance(TOKENIZER.encode("x")[0])


def test_copies_go_their_own_way() -> None:
    """What a copy takes does not move the original."""
    state = TokenGrammar(TOKENIZER, SCHEMA).start()
    before = state.mask()
    state.copy().advance(int(np.flatnonzero(before)[0]))
    assert np.array_equal(state.mask(), before)


@pytest.mark.parametrize("mode", ["schema", "grounded"])
def test_a_random_walk_through_the_masks_ends_in_a_valid_call(mode: Literal["schema", "grounded"]) -> None:
    """Whatever is drawn from the masks ends by itself and is a valid call of an offered tool."""
    grammar = TokenGrammar(TOKENIZER, tool_call_grammar(TOOLS, mode=mode, context=CONTEXT))
    schemas = {offered.name: offered.parameters for offered in TOOLS}
    rng = np.random.default_rng(3)
    for _ in range(12):
        state, ids = grammar.start(), []
        while not state.is_finished:
            allowed = np.flatnonzero(state.mask())
            spelled = [token for token in allowed if all(byte < 128 for byte in TOKENIZER.token_bytes(int(token)))]
            ids.append(int(rng.choice(spelled)))
            state.advance(ids[-1])
        drawn = json.loads(TOKENIZER.decode(ids))
        jsonschema.validate(drawn["arguments"], schemas[drawn["name"]])


def test_an_unsupported_keyword_is_named_with_its_pointer() -> None:
    """A schema that no grammar can hold to is refused with the place of the keyword."""
    bad = tool("pick", {"colour": {"type": "string", "not": {"const": "red"}}})
    with pytest.raises(GrammarError, match="/pick/parameters/properties/colour/not") as caught:
        tool_call_grammar([bad], mode="schema")
    assert caught.value.pointer == "/pick/parameters/properties/colour/not"


def test_a_type_that_is_missing_is_named() -> None:
    """A property without a type has no grammar."""
    with pytest.raises(GrammarError, match="/pick/parameters/properties/colour has type None"):
        tool_call_grammar([tool("pick", {"colour": {"description": "any"}})], mode="schema")


def test_an_empty_context_grounds_nothing() -> None:
    """Grounded texts need words to come from."""
    with pytest.raises(GrammarError, match="which is empty"):
        tool_call_grammar(TOOLS, mode="grounded", context="\n")


def test_values_that_could_grow_are_bounded() -> None:
    """Bounds are set where the schema has none, and each is listed; bounds that are there stay."""
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 5},
            "s": {"type": "string", "maxLength": 3},
            "t/u": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "number"}}]},
        },
    }
    bounded, added = bounded_schema(schema)
    assert added == (
        "/additionalProperties", "/properties/n/maximum", "/properties/t~1u/anyOf/0/maxLength", "/properties/t~1u/anyOf/1/maxItems",
        "/properties/t~1u/anyOf/1/items/minimum", "/properties/t~1u/anyOf/1/items/maximum", "/properties/t~1u/anyOf/1/items/multipleOf",
    )  # fmt: skip
    assert bounded["properties"]["n"]["minimum"] == 5
    assert bounded["properties"]["s"] == {"type": "string", "maxLength": 3}
    assert bounded_schema(bounded) == (bounded, ())


def test_any_json_schema_becomes_a_grammar_or_a_pointer() -> None:
    """A response schema constrains the reply; what cannot be compiled is named by its pointer."""
    grammar = json_schema_grammar({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]})
    assert accepts(grammar, '{"a": 1, "b": "x"}')
    assert accepts(grammar, '{"a": 1}')
    assert not accepts(grammar, '{"b": "x"}')
    with pytest.raises(GrammarError, match="/properties/a") as caught:
        json_schema_grammar({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"type": "integer"}}}})
    assert caught.value.pointer == "/properties/a"


def test_text_that_is_no_grammar_is_refused() -> None:
    """A broken Lark text is an error with llguidance's reason."""
    with pytest.raises(GrammarError, match='unknown name: "nothing"'):
        TokenGrammar(TOKENIZER, "start: nothing")
