"""Grammars from JSON schemas: bounded, so that whatever fits them ends, and in the one spelling that models are taught.

JSON is written as `{"name": "a", "items": [1, 2]}`: one space after colons and commas, properties in the schema's order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llguidance import LLMatcher

from kd.errors import UsageError

__all__ = [
    "MAX_ITEMS",
    "MAX_NUMBER",
    "MAX_TEXT_LENGTH",
    "NUMBER_STEP",
    "GrammarError",
    "LarkRules",
    "bounded_schema",
    "json_schema_grammar",
]

MAX_TEXT_LENGTH = 256
MAX_ITEMS = 16
MAX_NUMBER = 1_000_000_000
NUMBER_STEP = 0.000001

_SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NOTES = frozenset({"title", "description", "default", "examples", "$schema", "$id", "deprecated"})
_BY_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}
_NESTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_CHUNK = re.compile(r"\w+|\W")


class GrammarError(UsageError):
    """A schema or grammar that cannot constrain decoding; `pointer` is the place in the schema."""

    def __init__(self, message: str, *, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


def bounded_schema(schema: Mapping[str, Any], pointer: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
    """`schema` with a bound wherever a value could grow without end, and the pointers of what was set."""
    bounded = dict(schema)
    added: list[str] = []
    if not ({"enum", "const", "$ref"} & schema.keys()):
        defaults = _missing_bounds(schema)
        bounded.update(defaults)
        added.extend(f"{pointer}/{keyword}" for keyword in defaults)
    for path, child in _children(schema):
        inner, inner_added = bounded_schema(child, f"{pointer}/{'/'.join(_escape(part) for part in path)}")
        _place(bounded, path, inner)
        added.extend(inner_added)
    return bounded, tuple(added)


def json_schema_grammar(schema: Mapping[str, Any]) -> str:
    """Lark text for JSON that fits `schema`; GrammarError with the pointer of what cannot be compiled."""
    bounded, _ = bounded_schema(schema)
    text = f"start: {_json_rule(bounded)}\n"
    error = LLMatcher.validate_grammar(text)
    if error:
        pointer, reason = _smallest_fault(bounded)
        raise GrammarError(f"The schema at {pointer or '/'} cannot constrain decoding: {reason}. Leave it out.", pointer=pointer)
    return text


class LarkRules:
    """Lark rules for values of schemas, gathered under names of their own.

    With a `context`, strings without an enumeration are word substrings of one of its lines: whatever the model writes there
    stands in the context.
    """

    def __init__(self, context: str | None = None) -> None:
        self._lines: list[str] = []
        self._texts: dict[tuple[int, int], str] = {}
        self._context = _words_by_line(context) if context is not None else None

    def value(self, schema: Mapping[str, Any], pointer: str) -> str:
        """The name of a rule for values of the bounded `schema`; GrammarError for a keyword that no rule can hold to."""
        if "enum" in schema or "const" in schema:
            return self._rule(_json_rule({key: schema[key] for key in ("enum", "const") if key in schema}))
        if "anyOf" in schema:
            _check_keywords(schema, frozenset({"anyOf"}), pointer)
            options = [self.value(option, f"{pointer}/anyOf/{place}") for place, option in enumerate(schema["anyOf"])]
            return self._rule(" | ".join(options))
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _BY_TYPE:
            raise GrammarError(f"The schema at {pointer} has type {kind!r}, expected one of {', '.join(_BY_TYPE)}.", pointer=pointer)
        _check_keywords(schema, _BY_TYPE[kind] | {"type"}, pointer)
        if kind == "object":
            return self._object(schema, pointer)
        if kind == "array":
            return self._array(schema, pointer)
        if kind == "string" and self._context is not None and "pattern" not in schema:
            return self._substring(schema, pointer)
        return self._rule(_json_rule({key: item for key, item in schema.items() if key not in _NOTES}))

    def text(self, start: str) -> str:
        """The grammar whose start is the right side `start`."""
        return "\n".join([f"start: {start}", *self._lines]) + "\n"

    def _object(self, schema: Mapping[str, Any], pointer: str) -> str:
        if schema.get("additionalProperties") is not False:
            place = f"{pointer}/additionalProperties"
            raise GrammarError(f"The schema at {place} allows further properties, which never end: set it to false.", pointer=place)
        properties = list(schema.get("properties", {}).items())
        required = set(schema.get("required", ()))
        # One rule for "nothing was written yet" and one for "a comma is due", from the last property to the first.
        first = after = '""'
        for name, inner in reversed(properties):
            value = self.value(inner, f"{pointer}/properties/{_escape(name)}")
            key = json.dumps(name, ensure_ascii=False) + ": "
            optional = name not in required
            first, after = (
                self._rule(f"{_literal(lead + key)} {value} {after}" + (f" | {rest}" if optional else ""))
                for lead, rest in (("", first), (", ", after))
            )
        return self._rule(f'"{{" {first} "}}"')

    def _array(self, schema: Mapping[str, Any], pointer: str) -> str:
        if "items" not in schema:
            raise GrammarError(f"The schema at {pointer} is an array without items: say what it holds.", pointer=pointer)
        item = self.value(schema["items"], f"{pointer}/items")
        least, most = int(schema.get("minItems", 0)), int(schema["maxItems"])
        if most == 0:
            return self._rule('"[]"')
        more = self._rule(f'", " {item}')
        some = f'"[" {item} {more}{{{max(least - 1, 0)},{most - 1}}} "]"'
        return self._rule(some if least else f'{some} | "[]"')

    def _substring(self, schema: Mapping[str, Any], pointer: str) -> str:
        if not self._context:
            raise GrammarError(f"The text at {pointer} must come from the context, which is empty: give a context.", pointer=pointer)
        bounds = (max(int(schema.get("minLength", 1)), 1), int(schema["maxLength"]))
        if bounds not in self._texts:
            if not any(name.startswith("WORDS_") for name in self._lines):
                self._lines.extend(f"WORDS_{n}: %regex {_chunks(line)}" for n, line in enumerate(self._context))
            words = " | ".join(f"WORDS_{n}" for n in range(len(self._context)))
            name = f"TEXT_{len(self._texts)}"
            length = rf'/(\\["\\]|[^\\]){{{bounds[0]},{bounds[1]}}}/'
            self._lines.append(f'{name}: "\\"" (({words}) & {length} & /[^ ](.*[^ ])?/) "\\""')
            self._texts[bounds] = name
        return self._texts[bounds]

    def _rule(self, right_side: str) -> str:
        name = f"v{len(self._lines)}"
        self._lines.append(f"{name}: {right_side}")
        return name


def _missing_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind == "string":
        wanted: dict[str, Any] = {} if "pattern" in schema else {"maxLength": max(MAX_TEXT_LENGTH, int(schema.get("minLength", 0)))}
    elif kind == "array":
        wanted = {"maxItems": max(MAX_ITEMS, int(schema.get("minItems", 0)))}
    elif kind in ("integer", "number"):
        low = {} if "exclusiveMinimum" in schema else {"minimum": min(-MAX_NUMBER, schema.get("maximum", 0))}
        high = {} if "exclusiveMaximum" in schema else {"maximum": max(MAX_NUMBER, schema.get("minimum", 0))}
        wanted = {**low, **high, **({"multipleOf": NUMBER_STEP} if kind == "number" else {})}
    elif kind == "object":
        wanted = {"additionalProperties": False}
    else:
        wanted = {}
    return {keyword: value for keyword, value in wanted.items() if keyword not in schema}


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The schemas inside `schema`, each with its path."""
    for keyword in ("properties", "$defs", "definitions"):
        for name, child in schema.get(keyword, {}).items():
            yield (keyword, name), child
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            yield (keyword,), schema[keyword]
    for keyword in _NESTED:
        for place, child in enumerate(schema.get(keyword, ())):
            yield (keyword, str(place)), child


def _place(schema: dict[str, Any], path: Sequence[str], child: Mapping[str, Any]) -> None:
    if len(path) == 1:
        schema[path[0]] = child
    elif isinstance(schema[path[0]], Mapping):
        schema[path[0]] = {**schema[path[0]], path[1]: child}
    else:
        items = list(schema[path[0]])
        items[int(path[1])] = child
        schema[path[0]] = items


def _smallest_fault(schema: Mapping[str, Any], pointer: str = "") -> tuple[str, str]:
    """Pointer and reason of the innermost schema that cannot be compiled."""
    for path, child in _children(schema):
        if LLMatcher.validate_grammar(f"start: {_json_rule(child)}\n") and "$ref" not in json.dumps(child):
            return _smallest_fault(child, f"{pointer}/{'/'.join(_escape(part) for part in path)}")
    error = LLMatcher.validate_grammar(f"start: {_json_rule(schema)}\n")
    return pointer, error.splitlines()[0].partition("failed to compile JSON schema: ")[2] or error.splitlines()[0]


def _check_keywords(schema: Mapping[str, Any], known: frozenset[str], pointer: str) -> None:
    for keyword in sorted(schema.keys() - known - _NOTES):
        place = f"{pointer}/{_escape(keyword)}"
        raise GrammarError(f"The schema at {place} uses {keyword!r}, which cannot constrain decoding: leave it out.", pointer=place)


def _json_rule(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _SPELLING}, ensure_ascii=False)


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _words_by_line(context: str) -> tuple[tuple[str, ...], ...]:
    """The distinct lines of `context` as words and single signs, each as JSON spells it inside a string."""
    lines = dict.fromkeys(line.strip() for line in _CONTROL.split(context))
    return tuple(tuple(json.dumps(chunk, ensure_ascii=False)[1:-1] for chunk in _CHUNK.findall(line)) for line in lines if line)


def _chunks(words: Sequence[str]) -> str:
    return json.dumps({"substring_chunks": list(words)}, ensure_ascii=False)


def _escape(part: str) -> str:
    """`part` as a token of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
