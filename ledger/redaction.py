"""Secrets taken out of what is to be stored: known values, and texts that have the shape of a key.

Each becomes `[redacted:NAME]`. What is JSON stays JSON: only texts in it are changed, never a number, and its keys stay
sorted. Equal bytes and an equal redactor give equal bytes, and what was redacted once is not changed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from attrs import define, field, frozen

__all__ = ["DEFAULT_PATTERNS", "EMAIL_PATTERN", "LITERAL_MIN_CHARS", "Redactor", "SecretPattern"]

LITERAL_MIN_CHARS = 8
"""A shorter value would be found in texts that hold no secret."""

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ENCODER = msgspec.json.Encoder(order="sorted")
_COMMON = b' "etaoinsrhldcu,:_.0123456789{}mpfgwyb[]vk'
"""Bytes that are in most texts, the most frequent first."""
_GAP = rb"(?:[ \t\r\n]|\\[rnt])+"
_TOKEN = rb"[A-Za-z0-9._~+/=-]"
_LONG_TOKEN = b"(?:(?=[A-Za-z._~+/=-]*[0-9])" + _TOKEN + b"{8,}|" + _TOKEN + b"{20,})"
_API_KEYS = (b"api-key", b"api_key", b"apikey", b"Api-Key", b"API-Key", b"API-KEY", b"API_KEY", b"apiKey", b"ApiKey")
_AUTHORIZATIONS = (b"authorization", b"Authorization", b"AUTHORIZATION")
_ESCAPED = re.compile(rb"\\+u00([2-7][0-9A-Fa-f])")
"""How JSON may write ASCII, also within JSON."""


@frozen(kw_only=True)
class SecretPattern:
    """A shape that only secrets have."""

    name: str
    """What stands in the place of a find."""
    needles: tuple[bytes, ...]
    """One of these is in every find, so that most texts need no look at the expression."""
    expression: bytes
    """A regular expression without capturing groups."""


def _after(start: bytes, rest: bytes) -> bytes:
    """An expression for `rest` behind `start`, which has a fixed length and does not stand inside a word.

    The letter of an escape such as `\\n` is no part of a word. The start comes first since that is searched for fastest.
    """
    return start + b"(?:(?<![A-Za-z0-9]%s)|(?<=\\\\[bfnrt]%s)|(?<=\\\\u[0-9A-Fa-f]{4}%s))" % (start, start, start) + rest


def _prefixed(name: str, start: bytes, rest: bytes) -> SecretPattern:
    return SecretPattern(name=name, needles=(start,), expression=_after(re.escape(start), rest))


def _behind(names: Sequence[bytes]) -> bytes:
    """An expression for the place behind one of `names` in a header, an assignment, or JSON within JSON."""
    quotes = (b"", b"'", b'"', rb"\\" + b'"', rb"\\" * 3 + b'"')
    marks = [quote + colon + quote for quote in quotes for colon in (b":", b": ", b" : ")] + [b"=", b" = "]
    return b"(?:%s)" % b"|".join(b"(?<=%s%s)" % (name, mark) for name in names for mark in marks)


DEFAULT_PATTERNS = (
    SecretPattern(
        name="pem",
        needles=(b"PRIVATE KEY-----",),
        expression=rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
        rb"(?:[A-Za-z0-9+/=:,\s]|-(?!----)|\\+[nrt])*(?:-----END [A-Z0-9 ]*PRIVATE KEY-----)?",
    ),
    SecretPattern(
        name="bearer",
        needles=(b"Bearer", b"bearer", b"BEARER"),
        expression=_after(b"(?:Bearer|bearer|BEARER)", _GAP + _LONG_TOKEN),
    ),
    SecretPattern(
        name="basic",
        needles=(b"Basic", b"basic"),
        expression=_after(b"[Bb]asic", _GAP + rb"(?:(?=[A-Za-z+/]*[0-9=])[A-Za-z0-9+/]{8,}={0,2}|[A-Za-z0-9+/]{20,}={0,2})"),
    ),
    _prefixed("signing_key", b"PRIVATE+KEY+", rb"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+"),
    _prefixed("sk", b"sk-", rb"(?=[A-Za-z0-9_-]*?(?:[A-Za-z0-9_]{20}|(?=[A-Za-z_]*[0-9])[A-Za-z0-9_]{10}))[A-Za-z0-9_-]{16,}"),
    SecretPattern(name="stripe", needles=(b"k_live_", b"k_test_"), expression=_after(b"[rs]k_(?:live|test)_", rb"[A-Za-z0-9]{16,}")),
    SecretPattern(name="api_key", needles=_API_KEYS, expression=_behind(_API_KEYS) + rb"(?=[A-Za-z._~+/=-]*[0-9])" + _TOKEN + b"{16,}"),
    SecretPattern(
        name="authorization",
        needles=_AUTHORIZATIONS,
        expression=_behind(_AUTHORIZATIONS) + b"(?:[Tt]oken|[Aa]pi[Kk]ey|[Kk]ey)" + _GAP + _LONG_TOKEN,
    ),
    _prefixed("hf", b"hf_", rb"[A-Za-z0-9]{16,}"),
    _prefixed("github", b"gh", rb"[pousr]_[A-Za-z0-9]{16,}"),
    _prefixed("github", b"github_pat_", rb"[A-Za-z0-9_]{20,}"),
    _prefixed("gitlab", b"glpat-", rb"[A-Za-z0-9_-]{16,}"),
    SecretPattern(name="aws", needles=(b"AKIA", b"ASIA"), expression=_after(b"A[KS]IA", rb"[0-9A-Z]{16}(?![0-9A-Za-z])")),
    _prefixed("google", b"AIza", rb"[A-Za-z0-9_-]{35}"),
    _prefixed("slack", b"xox", rb"[abeprs]-[A-Za-z0-9-]{10,}"),
    _prefixed("jwt", b"eyJ", rb"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"),
    SecretPattern(name="url_password", needles=(b"://",), expression=rb"(?<=://)[^\s/@:\"\[]*:[^\s/@\"\[]+(?=@)"),
)
"""Keys and tokens of well-known services, bearer tokens, private keys, passwords in addresses."""

EMAIL_PATTERN = SecretPattern(
    name="email",
    needles=(b"@",),
    expression=rb"(?<!\\)(?<!\\u)(?<!\\u.)(?<!\\u..)(?<!\\u...)[A-Za-z0-9._%+-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
)
"""E-mail addresses: personal rather than secret, so they go only where a policy says so."""


@frozen
class _Rule:
    """What is looked for, and what takes its place."""

    needles: tuple[bytes, ...]
    search: re.Pattern[bytes]
    mark: bytes


@define
class _Tally:
    """How much was replaced, and which keys stay."""

    kept_keys: frozenset[str]
    count: int = field(default=0)


class Redactor:
    """Replaces `literals`, which are values by name, and whatever has the shape of one of `patterns`.

    White space around a literal is no part of it. ValueError if one is shorter than 8 characters or a name is not made of
    letters, digits and `_ . -`.
    """

    def __init__(self, literals: Mapping[str, str], patterns: Sequence[SecretPattern] = DEFAULT_PATTERNS) -> None:
        literals = {name: value.strip() for name, value in literals.items()}
        for name, value in literals.items():
            if len(value) < LITERAL_MIN_CHARS:
                raise ValueError(f"The secret {name} has {len(value)} characters, expected at least {LITERAL_MIN_CHARS}: use a longer one.")
        for name in (*literals, *(pattern.name for pattern in patterns)):
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"The name {name!r} of a secret is not made of letters, digits and _ . -: choose another.")
        forms = sorted(((form, name) for name, value in literals.items() for form in _forms(value)), key=lambda each: (-len(each[0]), each))
        rules = [
            *(_Rule((form,), re.compile(re.escape(form)), _mark(name)) for form, name in forms),
            *(_Rule(pattern.needles, re.compile(pattern.expression), _mark(pattern.name)) for pattern in patterns),
        ]
        self._rules = tuple(rules)
        by_anchor: dict[bytes, list[tuple[bytes, re.Pattern[bytes]]]] = {}
        for rule in rules:
            for needle in rule.needles:
                by_anchor.setdefault(_anchor(needle), []).append((needle, rule.search))
        self._by_anchor = tuple((anchor, tuple(each)) for anchor, each in by_anchor.items())
        self.is_secret_name = lru_cache(maxsize=4096)(self._is_secret_name)
        """Whether a name, of which there are few, holds a secret."""

    def redact(self, data: bytes, *, kept_keys: frozenset[str] = frozenset()) -> tuple[bytes, int]:
        """`data`, which is JSON, lines of JSON, or text, without secrets; and how many were replaced.

        Bytes without a secret come back as they are. Keys of JSON objects among `kept_keys` stay: a program gave them.
        """
        given, data = data, self._without_escapes(data)
        if not self._has_secret(data):
            return given, 0
        tally = _Tally(kept_keys=kept_keys)
        lines = data.split(b"\n")
        if all(line[:1] in (b"", b"{", b"[", b'"') for line in lines):
            try:
                found = b"\n".join(_ENCODER.encode(self._value(msgspec.json.decode(line), tally)) if line else line for line in lines)
            except msgspec.DecodeError:
                tally.count = 0  # text after all
            else:
                return (found, tally.count) if tally.count else (given, 0)
        return self._text(data, tally), tally.count

    def redact_text(self, text: str) -> tuple[str, int]:
        """The same for a single text, whatever it looks like."""
        tally, data = _Tally(kept_keys=frozenset()), text.encode(errors="surrogatepass")
        found = self._text(self._without_escapes(data), tally)
        return (found.decode(errors="surrogatepass"), tally.count) if tally.count else (text, 0)

    def _is_secret_name(self, name: str) -> bool:
        return self._has_secret(name.encode(errors="surrogatepass"))

    def _without_escapes(self, data: bytes) -> bytes:
        """`data`, or what it says without escapes of ASCII if that holds a secret."""
        if b"\\u00" not in data:
            return data
        plain = _ESCAPED.sub(_unescaped, data)
        return plain if self._has_secret(plain) else data

    def _has_secret(self, data: bytes) -> bool:
        for anchor, needles in self._by_anchor:
            if anchor in data:
                for needle, search in needles:
                    if needle in data and search.search(data) is not None:
                        return True
        return False

    def _value(self, value: Any, tally: _Tally) -> Any:
        if isinstance(value, str):
            return self._string(value, tally)
        if isinstance(value, list):
            return [self._value(each, tally) for each in cast(Sequence[Any], value)]
        if isinstance(value, dict):
            table: dict[str, Any] = {}
            for key, each in cast(dict[str, Any], value).items():
                table[self._key(key, table, tally)] = self._named_value(key, each, tally)
            return table
        return value

    def _named_value(self, key: str, value: Any, tally: _Tally) -> Any:
        """`value` without secrets, also without one that only its key tells of, as in a table of headers."""
        found = self._value(value, tally)
        if not isinstance(found, str):
            return found
        start, told = f"{key}: ", _Tally(kept_keys=tally.kept_keys)
        both = self._string(start + found, told)
        if not both.startswith(start):
            return found
        tally.count += told.count
        return both.removeprefix(start)

    def _key(self, key: str, table: Mapping[str, Any], tally: _Tally) -> str:
        """`key` without secrets, and unlike those before it, so that no value is lost."""
        if key in tally.kept_keys:
            return key
        found = unlike = self._string(key, tally)
        number = 2
        while unlike in table:
            unlike, number = f"{found}#{number}", number + 1
        return unlike

    def _string(self, text: str, tally: _Tally) -> str:
        data = text.encode(errors="surrogatepass")
        found = self._text(data, tally)
        return text if found == data else found.decode(errors="surrogatepass")

    def _text(self, data: bytes, tally: _Tally) -> bytes:
        if not self._has_secret(data):
            return data
        for rule in self._rules:
            if any(needle in data for needle in rule.needles):
                data, num_found = rule.search.subn(rule.mark, data)
                tally.count += num_found
        return data


def _anchor(needle: bytes) -> bytes:
    """The byte of `needle` that is in the fewest texts: a text without it, which is found out fastest, lacks the needle."""
    return max((needle[index : index + 1] for index in range(len(needle))), key=lambda byte: _COMMON.find(byte) % 1000)


def _unescaped(found: re.Match[bytes]) -> bytes:
    """The character that an escape stands for, unless it must stay one."""
    character = bytes([int(found[1], 16)])
    return found[0] if character in b'"\\\x7f' else character


def _mark(name: str) -> bytes:
    return b"[redacted:%s]" % name.encode()


def _forms(value: str) -> set[bytes]:
    """How `value` is spelled in text, in JSON, and in JSON within JSON."""
    forms = {value}
    for _ in range(2):
        forms |= {json.dumps(form, ensure_ascii=is_ascii)[1:-1] for form in forms for is_ascii in (False, True)}
    return {form.encode(errors="surrogatepass") for form in forms}
