"""Filters over records, as they are typed: `type:training.* and e.grad_norm>10 and not stage:export`.

    filter = term { ["and"] term | "or" term } ; term = ["not"|"!"] ( word | field op value | "(" filter ")" )
    op     = ":" "=" "!=" "<" "<=" ">" ">="
    field  = seq run stream stage type time actor key class | "e." path ; ":" is a glob; time takes ISO 8601 or -15m; "quotes" keep spaces

`and` binds closer than `or`. A word matches the line's bytes, whatever their case. A field that a record does not have matches nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import msgspec
from attrs import asdict, frozen, has

from kd.events import REGISTRY
from kd.views.filter_comparison import comparison
from kd.views.filter_syntax import And, Condition, FilterError, Node, Not, Or, Word, parse
from kd.views.run_streams import stage_of
from ledger.record import Record

__all__ = ["Filter", "FilterError", "Matches", "parse_filter"]

Matches = list[bool | None]
"""For each line True, False, or None where the line alone cannot tell, since its payload lies in a blob."""
_Test = Callable[["_Lines"], Matches]

_SPILLED = b',"e":{"$blob":"'
_CLASSES = {entry.name: entry.durability.value for entry in REGISTRY.entries}


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


_HEADERS = msgspec.json.Decoder(_Header)


class _Lines:
    """Stored lines that are taken apart together, as far as a filter needs: a call for many costs little more than one for each did."""

    __slots__ = ("_data", "_headers", "events", "lines")

    def __init__(self, lines: Sequence[bytes], events: Sequence[object] | None = None) -> None:
        self.lines = lines
        self.events = events
        self._data: bytes | None = None
        self._headers: list[_Header | None] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def data(self) -> bytes:
        """All lines, each with its line feed."""
        if self._data is None:
            self._data = b"\n".join([*self.lines, b""])
        return self._data

    @property
    def headers(self) -> list[_Header | None]:
        """None for a line that cannot be read."""
        if self._headers is None:
            self._headers = _decoded(_HEADERS, self)
        return self._headers

    def part(self, indices: Sequence[int]) -> _Lines:
        """Some of the lines, or these if it is all."""
        if len(indices) == len(self.lines):
            return self
        return _Lines([self.lines[index] for index in indices], None if self.events is None else [self.events[index] for index in indices])


@frozen
class Filter:
    """A filter that is ready to be used."""

    text: str
    _test: _Test

    def match_lines(self, lines: Sequence[bytes]) -> Matches:
        """Which of some stored lines match."""
        return self._test(_Lines(lines))

    def matches(self, record: Record) -> bool:
        """Whether the record matches."""
        return self._test(_Lines([record.line], [record.event])) == [True]


def parse_filter(text: str, *, now_ms: int | None = None) -> Filter:
    """The filter that `text` says, everything if it is blank; times such as -15m count back from `now_ms`.

    Raises FilterError with the column of the first mistake.
    """
    node = parse(text, now_ms)
    return Filter(text, _always if node is None else _test_of(node))


def _always(lines: _Lines) -> Matches:
    return [True] * len(lines)


def _test_of(node: Node) -> _Test:
    match node:
        case And(terms=terms):
            return partial(_joined, tuple(map(_test_of, sorted(terms, key=_cost))), False)
        case Or(terms=terms):
            return partial(_joined, tuple(map(_test_of, sorted(terms, key=_cost))), True)
        case Not(term=term):
            return partial(_none_of, _test_of(term))
        case Word(text=word):
            return partial(_has_word, word.lower().encode()) if word.isascii() else partial(_has_foreign_word, word.casefold())
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


def _joined(tests: tuple[_Test, ...], decisive: bool, lines: _Lines) -> Matches:
    """All of `tests`, or any of them if True is `decisive`; each looks only at the lines that those before it left open."""
    found: Matches = [not decisive] * len(lines)
    open_: Sequence[int] = range(len(lines))
    part = lines
    for test in tests:
        for index, result in zip(open_, results := test(part)):
            if result is not (not decisive):
                found[index] = decisive if result is decisive else None
        still = [place for place, result in enumerate(results) if result is not decisive]
        open_, part = [open_[place] for place in still], part.part(still)
        if not still:
            break
    return found


def _none_of(test: _Test, lines: _Lines) -> Matches:
    return [None if result is None else not result for result in test(lines)]


def _has_word(word: bytes, lines: _Lines) -> Matches:
    found: Matches = [False] * len(lines)
    data = lines.data.lower()
    place = -1 if b"\n" in word else data.find(word)
    if place < 0:
        return found
    for index, end in enumerate(accumulate(len(line) + 1 for line in lines.lines)):
        if place < end:
            found[index] = True
            place = data.find(word, end)
            if place < 0:
                break
    return found


def _has_foreign_word(word: str, lines: _Lines) -> Matches:
    return [word in line.decode("utf-8", "replace").casefold() for line in lines.lines]


def _condition(field: str, op: str, value: str | float) -> _Test:
    holds = comparison(op, value)
    if not field.startswith("e."):
        return partial(_header_holds, *_FIELDS[field], holds)
    first, *rest = field[2:].split(".")
    payload = msgspec.defstruct("Payload", [("value", Any, None)], rename={"value": first}, gc=False)
    line = msgspec.defstruct("Line", [("e", payload)], gc=False)
    return partial(_payload_holds, f'"{first}":'.encode(), msgspec.json.Decoder(line), (first, *rest), holds)


def _header_holds(
    stored: Callable[[_Header], Any], read: Callable[[Any], str | int | None], holds: Callable[[Any], bool], lines: _Lines
) -> Matches:
    """What many lines have in common is asked once."""
    values = [None if header is None else stored(header) for header in lines.headers]
    known = {value: (found := read(value)) is not None and holds(found) for value in set(values) if value is not None}
    known[None] = False
    return [known[value] for value in values]


def _payload_holds(
    name: bytes, decoder: msgspec.json.Decoder[Any], path: tuple[str, ...], holds: Callable[[Any], bool], lines: _Lines
) -> Matches:
    """Of the payload only the first name of the path is decoded; one that lies in a blob is asked of the event."""
    if name not in lines.data and _SPILLED not in lines.data:
        return [False] * len(lines)
    rest = path[1:]
    found: Matches = [
        payload is not None and (value := payload.e.value) is not None and _any_holds(value, rest, holds)
        for payload in _decoded(decoder, lines)
    ]
    if _SPILLED in lines.data:
        for index, line in enumerate(lines.lines):
            if _SPILLED in line:
                event: Any = None if lines.events is None else lines.events[index]
                found[index] = any(map(holds, _values_at(asdict(event), path))) if has(type(event)) else None
    return found


def _any_holds(value: Any, path: tuple[str, ...], holds: Callable[[Any], bool]) -> bool:
    if type(value) is float and not path:  # most values
        return holds(value)
    return any(map(holds, _values_at(value, path)))


def _decoded(decoder: msgspec.json.Decoder[Any], lines: _Lines) -> list[Any]:
    """Each line, None for one that cannot be read."""
    try:
        found = decoder.decode_lines(lines.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [_decoded_alone(decoder, line) for line in lines.lines]
    return found


def _decoded_alone(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _values_at(value: Any, path: tuple[str, ...]) -> list[Any]:
    """The values at `path`; a list on the way means each of its items."""
    if isinstance(value, list | tuple):
        return [found for item in value for found in _values_at(item, path)]
    if not path:
        return [] if value is None or isinstance(value, dict) else [value]
    return _values_at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def _run(stream: str) -> str | None:
    family, _, rest = stream.partition("/")
    return rest.partition("/")[0] if family in {"run", "own"} else None


def _name(kind: str) -> str:
    return kind.rpartition("/")[0]


def _as_it_is(value: Any) -> Any:
    return value


_stream, _kind = operator.attrgetter("s"), operator.attrgetter("y")
_FIELDS: Mapping[str, tuple[Callable[[_Header], Any], Callable[[Any], str | int | None]]] = {
    "seq": (operator.attrgetter("q"), _as_it_is),
    "run": (_stream, _run),
    "stream": (_stream, _as_it_is),
    "stage": (_stream, lambda stream: stage_of(stream) or None),
    "type": (_kind, _name),
    "time": (operator.attrgetter("t"), _as_it_is),
    "actor": (lambda header: None if header.m is None else header.m.a, _as_it_is),
    "key": (operator.attrgetter("k"), _as_it_is),
    "class": (_kind, lambda kind: _CLASSES.get(_name(kind), "transition" if kind.startswith("ledger.") else None)),
}
"""What is stored, and what a filter is held against."""
