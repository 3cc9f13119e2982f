"""Plain data to attrs classes, strictly, with every mistake at once.

Nothing is coerced: `"10"` is no integer and `1` no boolean (an integer may stand for a float). cattrs does this for data
that must be right; here each mistake is told to the person who made it, so all are collected, with suggestions for misspelt keys.
"""

from __future__ import annotations

import difflib
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from kd.errors import ConfigProblem
from kd.run.config_document import Document

__all__ = ["structure"]

T = TypeVar("T")

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_FAILED = object()


def structure(document: Document, cls: type[T]) -> tuple[T | None, list[ConfigProblem]]:
    """An instance of the attrs class `cls` from `document`, or None and all mistakes."""
    builder = _Builder(document)
    value = builder.build(document.data, cls, "")
    return (None if value is _FAILED else value), builder.problems


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[ConfigProblem] = []

    def build(self, value: Any, wanted: Any, path: str) -> Any:
        if attrs.has(wanted):
            return self._attrs(value, wanted, path)
        origin = get_origin(wanted)
        if origin in {Union, types.UnionType}:
            inner = [arm for arm in get_args(wanted) if arm is not type(None)]
            return None if value is None else self.build(value, inner[0], path)
        if origin is Literal:
            choices = get_args(wanted)
            return value if value in choices else self._fail(path, f"{value!r} is none of {', '.join(map(repr, choices))}.")
        if origin is tuple:
            return self._tuple(value, get_args(wanted)[0], path)
        if origin is dict:
            return self._dict(value, get_args(wanted)[1], path)
        return self._scalar(value, wanted, path)

    def _attrs(self, value: Any, cls: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._fail(path, f"{_show(value)} stands here, expected the keys {', '.join(f.name for f in attrs.fields(cls))}.")
        hints = get_type_hints(cls)
        known = {attribute.name: attribute for attribute in attrs.fields(cls)}
        before = len(self.problems)
        for key in value:
            if key not in known:
                self._fail(_join(path, key), _unknown(key, tuple(known)))
        built = {}
        for name, attribute in known.items():
            inner = _join(path, name)
            if name in value:
                built[name] = self._checked(self.build(value[name], hints[name], inner), attribute, inner)
            elif attribute.default is attrs.NOTHING:
                if attrs.has(hints[name]) and _has_only_defaults(hints[name]):
                    built[name] = hints[name]()
                else:
                    self._fail(inner, f"{name!r} is missing, expected {_expectation(hints[name])}.")
        if len(self.problems) > before or any(item is _FAILED for item in built.values()):
            return _FAILED
        try:
            return cls(**built)
        except ValueError as error:
            return self._fail(path, str(error))

    def _checked(self, value: Any, attribute: attrs.Attribute[Any], path: str) -> Any:
        if value is _FAILED or attribute.validator is None:
            return value
        try:
            attribute.validator(None, attribute, value)
        except (ValueError, TypeError) as error:
            return self._fail(path, _validator_sentence(error, value, attribute))
        except AttributeError:  # a validator that looks at other fields: it speaks when the whole is built
            return value
        return value

    def _tuple(self, value: Any, item: Any, path: str) -> Any:
        if not isinstance(value, list | tuple):
            return self._fail(path, f"{_show(value)} stands here, expected a list.")
        items = tuple(self.build(element, item, _join(path, str(index))) for index, element in enumerate(value))
        return _FAILED if any(element is _FAILED for element in items) else items

    def _dict(self, value: Any, item: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._fail(path, f"{_show(value)} stands here, expected keys with values.")
        items = {key: self.build(element, item, _join(path, key)) for key, element in value.items()}
        return _FAILED if any(element is _FAILED for element in items.values()) else items

    def _scalar(self, value: Any, wanted: Any, path: str) -> Any:
        if wanted is float and type(value) in {int, float} and math.isfinite(value):
            return float(value)
        if type(value) is wanted and wanted is not float:
            return value
        return self._fail(path, f"{_show(value)} stands here, expected {_WORDS.get(wanted, wanted)}.")

    def _fail(self, path: str, message: str) -> Any:
        self.problems.append(self._document.problem(path, message))
        return _FAILED


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _unknown(key: object, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"known keys are {', '.join(known)}."
    return f"There is no key {key!r}: {advice}"


def _has_only_defaults(cls: Any) -> bool:
    return all(attribute.default is not attrs.NOTHING for attribute in attrs.fields(cls))


def _expectation(wanted: Any) -> str:
    if attrs.has(wanted):
        return f"the keys {', '.join(attribute.name for attribute in attrs.fields(wanted))}"
    return _WORDS.get(wanted, "a value")


def _show(value: object) -> str:
    return f"{value!r} ({type(value).__name__})" if value is not None else "nothing"


def _validator_sentence(error: Exception, value: object, attribute: attrs.Attribute[Any]) -> str:
    """attrs says which rule broke in its first argument; the hint of the field says what is wanted."""
    hint = attribute.metadata.get("hint")
    return f"{value!r} does not fit, expected {hint}." if hint else str(error.args[0] if error.args else error)
