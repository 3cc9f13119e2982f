"""Secrets taken out of what is to be stored: known values, and texts that have the shape of a key.

Each becomes `[redacted:NAME]`. What is JSON stays JSON: only texts in it are changed, never a number, and its keys stay
sorted. Equal bytes and an equal redactor give equal bytes, and what was redacted once is not changed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from attrs import define, field, frozen

__all__ = ["DEFAULT_PATTERNS", "EMAIL_PATTERN", "LITERAL_MIN_CHARS", "Redactor", "SecretPattern"]

LITERAL_MIN_CHARS = 8
"""A shorter value would be found in texts that hold no secret."""

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ENCODER = msgspec.json.Encoder(order="sorted")
_START = rb"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
"""Not inside a word; the letter of an escape such as `\\n` is none."""
_GAP = rb"(?:[ \t\r\n]|\\[rnt])+"
_TOKEN = rb"[A-Za-z0-9._~+/=-]"


@frozen(kw_only=True)
class SecretPattern:
    """A shape that only secrets have."""

    name: str
    """What stands in the place of a find."""
    needles: tuple[bytes, ...]
    """One of these is in every find, so that most texts need no look at the expression."""
    expression: bytes
    """A regular expression without capturing groups."""


def _prefixed(name: str, needle: bytes, rest: bytes) -> SecretPattern:
    return SecretPattern(name=name, needles=(needle,), expression=_START + re.escape(needle) + rest)


DEFAULT_PATTERNS = (
    SecretPattern(
        name="pem",
        needles=(b"PRIVATE KEY-----",),
        expression=rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
        rb"(?:[A-Za-z0-9+/=:,\s]|-(?!----)|\\+[nrt])*(?:-----END [A-Z0-9 ]*PRIVATE KEY-----)?",
    ),
    SecretPattern(
        name="bearer",
        needles=(b"earer", b"EARER"),
        expression=_START + b"[Bb](?:earer|EARER)" + _GAP + b"(?:(?=[A-Za-z._~+/=-]*[0-9])" + _TOKEN + b"{8,}|" + _TOKEN + b"{20,})",
    ),
    SecretPattern(
        name="basic",
        needles=(b"asic",),
        expression=_START + b"[Bb]asic" + _GAP + rb"(?:(?=[A-Za-z+/]*[0-9=])[A-Za-z0-9+/]{8,}={0,2}|[A-Za-z0-9+/]{20,}={0,2})",
    ),
    _prefixed("signing_key", b"PRIVATE+KEY+", rb"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+"),
    _prefixed("sk", b"sk-", rb"[A-Za-z0-9_-]{16,}"),
    _prefixed("hf", b"hf_", rb"[A-Za-z0-9]{16,}"),
    SecretPattern(
        name="github",
        needles=(b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        expression=_START + rb"(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,})",
    ),
    _prefixed("gitlab", b"glpat-", rb"[A-Za-z0-9_-]{16,}"),
    SecretPattern(name="aws", needles=(b"AKIA", b"ASIA"), expression=_START + rb"A[KS]IA[0-9A-Z]{16}(?![0-9A-Za-z])"),
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

    ValueError if a literal is shorter than 8 characters or a name is not made of letters, digits and `_ . -`.
    """

    def __init__(self, literals: Mapping[str, str], patterns: Sequence[SecretPattern] = DEFAULT_PATTERNS) -> None:
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
        self._rules = tuple((needle, rule) for rule in rules for needle in rule.needles)

    def redact(self, data: bytes, *, kept_keys: frozenset[str] = frozenset()) -> tuple[bytes, int]:
        """`data`, which is JSON, lines of JSON, or text, without secrets; and how many were replaced.

        Bytes without a secret come back as they are. Keys of JSON objects among `kept_keys` stay: a program gave them.
        """
        for needle, rule in self._rules:
            if needle in data and rule.search.search(data) is not None:
                break
        else:
            return data, 0
        tally = _Tally(kept_keys=kept_keys)
        lines = data.split(b"\n")
        if all(line[:1] in (b"", b"{", b"[", b'"') for line in lines):
            try:
                found = b"\n".join(_ENCODER.encode(self._value(msgspec.json.decode(line), tally)) if line else line for line in lines)
            except msgspec.DecodeError:
                tally.count = 0  # text after all
            else:
                return (found, tally.count) if tally.count else (data, 0)
        return self._text(data, tally), tally.count

    def redact_text(self, text: str) -> tuple[str, int]:
        """The same for a single text, whatever it looks like."""
        tally = _Tally(kept_keys=frozenset())
        return self._string(text, tally), tally.count

    def _value(self, value: Any, tally: _Tally) -> Any:
        if isinstance(value, str):
            return self._string(value, tally)
        if isinstance(value, list):
            return [self._value(each, tally) for each in cast(Sequence[Any], value)]
        if isinstance(value, dict):
            table: dict[str, Any] = {}
            for key, each in cast(dict[str, Any], value).items():
                table[self._key(key, table, tally)] = self._value(each, tally)
            return table
        return value

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
        for needle, rule in self._rules:
            if needle in data:
                data, num_found = rule.search.subn(rule.mark, data)
                tally.count += num_found
        return data


def _mark(name: str) -> bytes:
    return b"[redacted:%s]" % name.encode()


def _forms(value: str) -> set[bytes]:
    """How `value` is spelled in text, in JSON, and in JSON within JSON."""
    forms = {value}
    for _ in range(2):
        forms |= {json.dumps(form, ensure_ascii=is_ascii)[1:-1] for form in forms for is_ascii in (False, True)}
    return {form.encode(errors="surrogatepass") for form in forms}
