"""Filters over records, as they are typed: `type:training.* and e.grad_norm>10 and not stage:export`.

    filter = term { ["and"] term | "or" term } ; term = ["not"|"!"] ( word | field op value | "(" filter ")" )
    op     = ":" "=" "!=" "<" "<=" ">" ">="
    field  = seq run stream stage type time actor key class | "e." path ; ":" is a glob; time takes ISO 8601 or -15m; "quotes" keep spaces

`and` binds closer than `or`. A word matches the line's bytes, whatever their case. A field that a record does not have matches nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from attrs import asdict, frozen, has

from kd.events import REGISTRY
from kd.views.filter_syntax import And, Condition, FilterError, Node, Not, Or, Word, parse
from kd.views.run_streams import stage_of
from ledger.record import Record

__all__ = ["Filter", "FilterError", "parse_filter"]

_Test = Callable[["_Line"], bool | None]
"""True, False, or None where the line alone cannot tell, since its payload lies in a blob."""

_SPILLED = b',"e":{"$blob":"'
_CLASSES = {entry.name: entry.durability.value for entry in REGISTRY.entries}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


class _Meta(msgspec.Struct, gc=False):
    a: str | None = None


class _Header(msgspec.Struct, gc=False):
    """What a filter asks of a line, in the short names of the format."""

    q: int
    s: str
    t: int
    y: str
    k: str | None = None
    m: _Meta | None = None


_decode_header = msgspec.json.Decoder(_Header).decode


class _Line:
    """A stored line that is taken apart as far as a filter needs."""

    __slots__ = ("_header", "_lower", "event", "line")

    def __init__(self, line: bytes, event: object = None) -> None:
        self.line = line
        self.event = event
        self._lower: bytes | None = None
        self._header: _Header | None = None

    @property
    def lower(self) -> bytes:
        if self._lower is None:
            self._lower = self.line.lower()
        return self._lower

    @property
    def header(self) -> _Header:
        if self._header is None:
            self._header = _decode_header(self.line)
        return self._header


@frozen
class Filter:
    """A filter that is ready to be used."""

    text: str
    _test: _Test

    def matches_line(self, line: bytes) -> bool:
        """Whether a stored line matches; a line whose payload lies in a blob passes if only the payload could tell."""
        return self._test(_Line(line)) is not False

    def matches(self, record: Record) -> bool:
        """Whether the record matches."""
        return self._test(_Line(record.line, record.event)) is True


def parse_filter(text: str, *, now_ms: int | None = None) -> Filter:
    """The filter that `text` says, everything if it is blank; times such as -15m count back from `now_ms`.

    Raises FilterError with the column of the first mistake.
    """
    node = parse(text, now_ms)
    return Filter(text, _always if node is None else _test_of(node))


def _always(_line: _Line) -> bool:
    return True


def _test_of(node: Node) -> _Test:
    match node:
        case And(terms=terms):
            return partial(_all_of, tuple(map(_test_of, sorted(terms, key=_cost))))
        case Or(terms=terms):
            return partial(_any_of, tuple(map(_test_of, sorted(terms, key=_cost))))
        case Not(term=term):
            return partial(_none_of, _test_of(term))
        case Word(text=word):
            return partial(_has_word, word) if word.isascii() else partial(_has_foreign_word, word.casefold())
        case Condition(field=field, op=op, value=value):
            return _condition(field, op, value)


def _cost(node: Node) -> int:
    """Words first, then the header, then payloads."""
    match node:
        case And(terms=terms) | Or(terms=terms):
            return max(map(_cost, terms))
        case Not(term=term):
            return _cost(term)
        case Word():
            return 0
        case Condition(field=field):
            return 2 if field.startswith("e.") else 1


def _all_of(tests: tuple[_Test, ...], line: _Line) -> bool | None:
    found: bool | None = True
    for test in tests:
        result = test(line)
        if result is False:
            return False
        found = found if result else None
    return found


def _any_of(tests: tuple[_Test, ...], line: _Line) -> bool | None:
    found: bool | None = False
    for test in tests:
        result = test(line)
        if result:
            return True
        found = found if result is False else None
    return found


def _none_of(test: _Test, line: _Line) -> bool | None:
    result = test(line)
    return None if result is None else not result


def _has_word(word: str, line: _Line) -> bool:
    return word.lower().encode() in line.lower


def _has_foreign_word(word: str, line: _Line) -> bool:
    return word in line.line.decode("utf-8", "replace").casefold()


def _condition(field: str, op: str, value: str | float) -> _Test:
    holds = _comparison(op, value)
    if not field.startswith("e."):
        return partial(_header_holds, _FIELDS[field], holds)
    first, *rest = field[2:].split(".")
    payload = msgspec.defstruct("Payload", [("value", Any, None)], rename={"value": first}, gc=False)
    line = msgspec.defstruct("Line", [("e", payload)], gc=False)
    return partial(_payload_holds, f'"{first}":'.encode(), msgspec.json.Decoder(line).decode, (first, *rest), holds)


def _header_holds(read: Callable[[_Header], str | int | None], holds: Callable[[Any], bool], line: _Line) -> bool:
    value = read(line.header)
    return value is not None and holds(value)


def _payload_holds(
    name: bytes, decode: Callable[[bytes], Any], path: tuple[str, ...], holds: Callable[[Any], bool], line: _Line
) -> bool | None:
    """Of the payload only the first name of the path is decoded; one that lies in a blob is asked of the event."""
    if _SPILLED in line.line:
        event: Any = line.event
        return any(map(holds, _values_at(asdict(event), path))) if has(type(event)) else None
    return name in line.line and any(map(holds, _values_at(decode(line.line).e.value, path[1:])))


def _values_at(value: Any, path: tuple[str, ...]) -> list[Any]:
    """The values at `path`; a list on the way means each of its items."""
    if isinstance(value, list | tuple):
        return [found for item in value for found in _values_at(item, path)]
    if not path:
        return [] if value is None or isinstance(value, dict) else [value]
    return _values_at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def _comparison(op: str, wanted: str | float) -> Callable[[Any], bool]:
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


def _run(header: _Header) -> str | None:
    family, _, rest = header.s.partition("/")
    return rest.partition("/")[0] if family in {"run", "own"} else None


def _name(header: _Header) -> str:
    return header.y.rpartition("/")[0]


_FIELDS: Mapping[str, Callable[[_Header], str | int | None]] = {
    "seq": lambda header: header.q,
    "run": _run,
    "stream": lambda header: header.s,
    "stage": lambda header: stage_of(header.s) or None,
    "type": _name,
    "time": lambda header: header.t,
    "actor": lambda header: None if header.m is None else header.m.a,
    "key": lambda header: header.k,
    "class": lambda header: _CLASSES.get(_name(header), "transition" if header.y.startswith("ledger.") else None),
}
