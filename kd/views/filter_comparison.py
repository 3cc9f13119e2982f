"""How a filter holds a recorded value against a wanted one: numbers as numbers, all else as text, globs in one pass."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = ["comparison"]

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


def comparison(op: str, wanted: str | float) -> Callable[[Any], bool]:
    """What tells whether a value stands to `wanted` as `op` says: `:` is a glob, the others compare."""
    if op == ":":
        return partial(_fits, tuple(str(wanted).split("*")))
    return partial(_compares, _COMPARISONS[op], wanted, _number(wanted))


def _compares(compare: Callable[[Any, Any], bool], wanted: str | float, number: float | None, value: Any) -> bool:
    """Numbers are compared as numbers, all else as text."""
    if isinstance(value, bool):
        return compare(str(value).lower(), str(wanted).lower())
    if isinstance(value, int | float):
        return number is not None and compare(value, number)
    return compare(str(value), str(wanted))


def _number(wanted: str | float) -> float | None:
    try:
        return int(wanted) if isinstance(wanted, str) and wanted.isdecimal() else float(wanted)
    except ValueError:
        return None


def _fits(parts: tuple[str, ...], value: Any) -> bool:
    """Whether `value` is the parts in order with anything between them; takes time in proportion to its length."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    first, *middle = parts
    if not middle:
        return text == first
    last = middle.pop()
    if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
        return False
    start, stop = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, start, stop)
        if found < 0:
            return False
        start = found + len(part)
    return True
