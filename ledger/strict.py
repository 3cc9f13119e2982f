"""Plain values to typed ones without any coercion: for imports, configurations and audits.

`"1"` is not 1, `true` is not 1, `"ab"` is not a tuple of letters, and an unknown key is a mistake. All mistakes are
reported at once, each with its path.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.cols import mapping_structure_factory as _mapping_factory  # pyright: ignore[reportUnknownVariableType]  # two arguments lack types
from cattrs.errors import ForbiddenExtraKeysError

from ledger.errors import PayloadError

__all__ = ["NON_FINITE", "Hook", "strict_converter", "structure"]

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How numbers that JSON has no word for are written."""


def structure(value: object, cls: type[T], *, name: str | None = None) -> T:
    """`value` (of dicts, lists, strings, numbers) as a `cls`; PayloadError has every mistake with its path."""
    try:
        return _CONVERTER.structure(value, cls)
    except Exception as error:  # cattrs passes on whatever a validator raises
        problems = cattrs.transform_error(error, path="$", format_exception=_words)
        raise PayloadError(name or cls.__name__, problems) from error


def strict_converter() -> cattrs.Converter:
    """A new converter that coerces nothing, to which a caller may add hooks of its own."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for cls, check in _CHECKS.items():
        converter.register_structure_hook(cls, _ignoring_class(check))
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(_is_enum, _member)
    converter.register_structure_hook_factory(_is_tuple, partial(_array_hook, converter))
    # not by the converter's own method, which registers its hook without the check as soon as it is called
    make_dict = partial(_mapping_factory, converter=converter, structure_to=dict)
    converter.register_structure_hook_factory(_is_dict, partial(_object_hook, make_dict))
    converter.register_structure_hook_factory(attrs.has, partial(_object_hook, converter.gen_structure_attrs_fromdict))
    return converter


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"expected an integer, got {_shown(value)}")
    return value


def _number(value: object) -> float:
    if type(value) is str and value in NON_FINITE:
        return NON_FINITE[value]
    if type(value) is not float and type(value) is not int:
        raise TypeError(f"expected a number, got {_shown(value)}")
    return float(value)


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"expected a string, got {_shown(value)}")
    return value


def _truth(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError(f"expected true or false, got {_shown(value)}")
    return value


_CHECKS: dict[type[Any], Callable[[object], object]] = {int: _integer, float: _number, str: _text, bool: _truth}


def _literal(value: object, cls: Any) -> object:
    for choice in get_args(cls):
        if type(value) is type(choice) and value == choice:
            return choice
    raise ValueError(f"expected one of {', '.join(repr(choice) for choice in get_args(cls))}, got {_shown(value)}")


def _member(value: object, cls: Any) -> object:
    for member in cls:
        if type(value) is type(member.value) and value == member.value:
            return member
    raise ValueError(f"expected one of {', '.join(repr(member.value) for member in cls)}, got {_shown(value)}")


def _ignoring_class(check: Callable[[object], object]) -> Hook:
    return lambda value, _cls: check(value)


def _is_literal(cls: Any) -> bool:
    origin: Any = get_origin(cls)
    return origin is Literal


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def _is_tuple(cls: Any) -> bool:
    return get_origin(cls) is tuple


def _is_dict(cls: Any) -> bool:
    return get_origin(cls) is dict


def _array_hook(converter: cattrs.Converter, cls: Any) -> Hook:
    items = get_args(cls)
    is_open = len(items) == 2 and items[1] is Ellipsis
    hook: Hook = homogenous_tuple_structure_factory(cls, converter) if is_open else converter.gen_structure_hetero_tuple(cls)
    return _demanding(list | tuple, "an array", hook)


def _object_hook(make: Callable[[Any], Hook], cls: Any) -> Hook:
    return _demanding(Mapping, "an object", make(cls))


def _demanding(kind: Any, words: str, hook: Hook) -> Hook:
    def demand(value: Any, cls: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"expected {words}, got {_shown(value)}")
        return hook(value, cls)

    return demand


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _words(error: BaseException, _cls: type | None) -> str:
    """What is wrong, in the words of the check itself; the stock text hides what a validator said."""
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown key {', '.join(repr(key) for key in sorted(error.extra_fields))}"
    if isinstance(error, KeyError):
        return "a required key is missing"
    return str(error.args[0]).rstrip(".") if error.args else type(error).__name__


_CONVERTER = strict_converter()
