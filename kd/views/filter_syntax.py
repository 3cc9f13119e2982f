"""How filters are written: text to a tree of terms, with the column of the first mistake."""

from __future__ import annotations

import calendar
import re

from attrs import frozen

__all__ = ["And", "Condition", "FilterError", "Node", "Not", "Or", "Word", "parse"]

_FIELDS = ("seq", "run", "stream", "stage", "type", "time", "actor", "key", "class")
_SPACES = re.compile(r"\s*")
_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(!=|<=|>=|[:=<>])")
_BARE = re.compile(r'[^\s()"]+')
_AGO = re.compile(r"-(\d{1,9})([smhd])")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3})\d*)?)?)?(?:(Z)|([+-])(\d\d):?(\d\d))?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_DEPTH = 50


class FilterError(ValueError):
    """A filter that says nothing; `column` is where, counted from 1."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"Column {column}: {message}")
        self.column = column


@frozen
class Word:
    """A text somewhere in the line."""

    text: str


@frozen
class Condition:
    """A field held against a value; times are milliseconds."""

    field: str
    op: str
    value: str | int


@frozen
class Not:
    """What `term` does not match."""

    term: Node


@frozen
class And:
    """What all match."""

    terms: tuple[Node, ...]


@frozen
class Or:
    """What any matches."""

    terms: tuple[Node, ...]


Node = Word | Condition | Not | And | Or


def parse(text: str, now_ms: int | None) -> Node | None:
    """The tree of a filter, None for a blank one; FilterError for a mistake."""
    reader = _Reader(text, now_ms)
    if reader.is_at_end():
        return None
    node = reader.read_or(0)
    if not reader.is_at_end():
        raise reader.error("this ) closes nothing: remove it or open it before.")
    return node


class _Reader:
    """A filter's text and how far it is read."""

    def __init__(self, text: str, now_ms: int | None) -> None:
        self._text = text
        self._now_ms = now_ms
        self._place = 0

    def error(self, message: str, place: int | None = None) -> FilterError:
        return FilterError((self._place if place is None else place) + 1, message)

    def is_at_end(self) -> bool:
        match = _SPACES.match(self._text, self._place)
        assert match is not None, "it matches nothing at least"
        self._place = match.end()
        return self._place == len(self._text)

    def read_or(self, depth: int) -> Node:
        terms = [self._read_and(depth)]
        while self._take_word("or"):
            terms.append(self._read_and(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _read_and(self, depth: int) -> Node:
        terms = [self._read_term(depth)]
        while not self.is_at_end() and self._text[self._place] != ")" and not self._sees_word("or"):
            self._take_word("and")
            terms.append(self._read_term(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _read_term(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.error(f"more than {_MAX_DEPTH} terms lie inside each other: write it flatter.")
        if self.is_at_end():
            raise self.error("something is expected here: a word, a field with a value, or ( ).")
        if self._take_word("not") or self._take("!"):
            return Not(self._read_term(depth + 1))
        if self._take("("):
            opened = self._place - 1
            node = self.read_or(depth + 1)
            if self.is_at_end() or not self._take(")"):
                raise self.error("this ( is not closed: add ).", opened)
            return node
        return self._read_leaf()

    def _read_leaf(self) -> Node:
        place = self._place
        match = _FIELD.match(self._text, place)
        if match is None:
            if self._sees_word("or") or self._sees_word("and") or self._text[place] == ")":
                raise self.error("something is expected here: a word, a field with a value, or ( ).")
            return Word(self._read_value())
        field, op = match[1], match[2]
        if field not in _FIELDS and not (field.startswith("e.") and all(field.split("."))):
            raise self.error(f"there is no field {field}, expected {', '.join(_FIELDS)} or e.NAME; put a word with : into quotes.", place)
        self._place = match.end()
        if self._place == len(self._text) or self._text[self._place] in " \t)(":
            raise self.error(f"{field}{op} needs a value behind it.")
        value_place = self._place
        value = self._read_value()
        return Condition(field, op, self._time(value, value_place) if field == "time" else value)

    def _read_value(self) -> str:
        place = self._place
        if self._text[place] == '"':
            end = self._text.find('"', place + 1)
            if end < 0:
                raise self.error("this quote is not closed: add another.", place)
            self._place = end + 1
            return self._text[place + 1 : end]
        match = _BARE.match(self._text, place)
        if match is None:
            raise self.error("something is expected here: a word, a field with a value, or ( ).")
        self._place = match.end()
        return match[0]

    def _time(self, text: str, place: int) -> int:
        ago = _AGO.fullmatch(text)
        if ago is not None and self._now_ms is not None:
            return self._now_ms - int(ago[1]) * _SECONDS[ago[2]] * 1000
        date = _DATE.fullmatch(text)
        time_ms = None if date is None else _date_ms(date)
        if time_ms is None:
            raise self.error(f"{text} is no time, expected one such as 2026-01-31T12:00:00Z or -15m.", place)
        return time_ms

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._place):
            return False
        self._place += len(sign)
        return True

    def _sees_word(self, word: str) -> bool:
        end = self._place + len(word)
        return self._text[self._place : end].lower() == word and (end == len(self._text) or self._text[end] in ' \t()"')

    def _take_word(self, word: str) -> bool:
        if self.is_at_end() or not self._sees_word(word):
            return False
        self._place += len(word)
        return True


def _date_ms(match: re.Match[str]) -> int | None:
    """Milliseconds since 1970 of a date and time, in UTC unless it says otherwise; None if there is no such day or time."""
    year, month, day, hour, minute, second = (int(match[number] or 0) for number in range(1, 7))
    if not (year and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]) or hour > 23 or minute > 59 or second > 59:
        return None
    offset = int(match[10] or 0) * 60 + int(match[11] or 0)
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - (-offset if match[9] == "-" else offset) * 60
    return seconds * 1000 + int((match[7] or "").ljust(3, "0"))
