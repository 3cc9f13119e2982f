"""A secret never reaches a segment or a blob."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.decider import Decider
from ledger.errors import EncodeError
from ledger.handle import Live
from ledger.opening import create_ledger, open_ledger
from ledger.record import Meta
from ledger.redaction import DEFAULT_PATTERNS, EMAIL_PATTERN, Redactor
from ledger.registry import Entry, Registry
from ledger.store import MemoryStore

_SECRET = 'pa"ss\\wörd-1'
_REDACTOR = Redactor({"TEACHER_KEY": _SECRET, "PLAIN": "correct-horse-7"}, (*DEFAULT_PATTERNS, EMAIL_PATTERN))

_SHAPES = {
    "sk": "sk-proj-abcdEFGH0123_ijkl",
    "hf": "hf_abcdefghijklmnopQRST",
    "github": "ghp_0123456789abcdefghij",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "bearer": "Bearer abc123.def~456",
    "basic": "Basic dXNlcjpwYXNzd29yZA==",
    "google": "AIza" + "b" * 35,
    "gitlab": "glpat-0123456789abcdefghij",
    "slack": "xoxb-12345678901-abcdef",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "signing_key": "PRIVATE+KEY+example.org/a+0123abcd+AXNlZWQ=",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow+/=\nIBAA\n-----END RSA PRIVATE KEY-----",
    "stripe": "sk_live_0123456789abcdefABCD",
    "email": "ann.other+x@mail.example.org",
}
_PLACES = ("{}", "at {} end", "line\n{}\nline", "\t{}", "\\n{}", '"{}"', "é{}", "\u0001{}", "x={};")


@frozen(kw_only=True)
class Noted:
    """An event with texts everywhere."""

    text: str
    table: dict[str, str] = field(factory=dict)
    choice: Literal["correct-horse-7", "other"] = "other"
    number: float = 0.5
    any: Any = None


@frozen(kw_only=True)
class Numbered:
    """An event that holds no text."""

    number: int


_REGISTRY = Registry((Entry(name="example.noted", cls=Noted), Entry(name="example.numbered", cls=Numbered)))


@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("name", _SHAPES)
def test_every_shape_is_found_wherever_it_stands(name: str, place: str) -> None:
    """In a text, in JSON and in JSON within JSON, behind any escape, a secret is replaced and the rest stays."""
    text = place.format(_SHAPES[name])
    wanted = place.format(f"[redacted:{name}]")
    assert _REDACTOR.redact_text(text) == (wanted, 1)
    for depth in range(3):
        found, count = _REDACTOR.redact(text.encode())
        assert count == 1
        assert _SHAPES[name].encode() not in found
        if depth:
            json.loads(found)
        text = json.dumps({"a": text}, ensure_ascii=depth == 1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x-api-key: 0123456789abcdef0123456789abcdef", "x-api-key: [redacted:api_key]"),
        ("X-Api-Key: 0123456789abcdef0123456789abcdef", "X-Api-Key: [redacted:api_key]"),
        ("Authorization: Token 0123abcd4567", "Authorization: [redacted:authorization]"),
    ],
)
def test_what_its_name_tells_of_is_found(text: str, wanted: str) -> None:
    """In a header and in a table of headers, alone and in JSON within JSON, the value goes and the name stays."""
    assert _REDACTOR.redact_text(f"a\n{text}\nb") == (f"a\n{wanted}\nb", 1)
    name, _, value = text.partition(": ")
    table: Any = {name: value}
    for _ in range(3):
        data = json.dumps(table).encode()
        found, count = _REDACTOR.redact(data)
        assert count == 1
        assert value.split()[-1].encode() not in found
        assert name.encode() in found
        json.loads(found)
        table = {"inner": data.decode()}


@pytest.mark.parametrize("escape", [rb"\u002d", rb"\u002D", rb"\\u002d"])
def test_escapes_hide_nothing(escape: bytes) -> None:
    """A letter that is written as an escape is that letter, also in JSON within JSON."""
    found, count = _REDACTOR.redact(rb'{"a":"sk%sproj-abcdEFGH0123_ijkl","b":"\u0022"}' % escape)
    assert count == 1
    assert json.loads(found) == {"a": "[redacted:sk]", "b": '"'}
    assert _REDACTOR.redact(found) == (found, 0)


def test_white_space_around_a_known_value_is_no_part_of_it() -> None:
    """A variable that was read from a file ends with a line feed that is sent nowhere."""
    assert Redactor({"A": " correct-horse-7\n"}).redact(b'{"h":"correct-horse-7"}') == (b'{"h":"[redacted:A]"}', 1)
    with pytest.raises(ValueError, match="has 5 characters"):
        Redactor({"A": "short    \n"})


@given(before=st.text(), after=st.text(), is_ascii=st.booleans())
@settings(max_examples=50)
def test_a_known_value_is_found_in_any_text(before: str, after: str, is_ascii: bool) -> None:
    """Neither quotes nor backslashes in a value, nor what stands beside it, hide it; what was JSON is JSON after."""
    text = f"{before}{_SECRET}{after}"
    for data in (text.encode(), json.dumps([text], ensure_ascii=is_ascii).encode()):
        found, count = _REDACTOR.redact(data)
        assert count >= 1
        assert b"TEACHER_KEY" in found
        assert _SECRET.encode() not in found
        assert json.dumps(_SECRET)[1:-1].encode() not in found
        assert _REDACTOR.redact(found) == (found, 0)
    assert _SECRET not in json.loads(found)[0]


def test_ordinary_text_comes_back_as_it_is() -> None:
    """Words that only look a little like keys, digests, and JSON with odd spacing are not touched."""
    texts = [
        "the task-oriented-language-models-are basic enough",
        "Bearer of good news, basic arithmetic, a bearer authentication scheme",
        "https://example.org:8080/a@b?c",
        f"sha256:{'ab12' * 16}",
        '{ "b" : 1.50,  "a":1e-07 }',
        "sk-learn-classifier-distillation, sk-learn-1, sk_live_on",
        "an api_key: your-key-goes-here, api_key_env: OPENAI_API_KEY, authorization: token needed",
        "eyJust a word, hf_short, sk-short",
    ]
    redactor = Redactor({"A": "correct-horse-7"})
    for text in texts:
        assert redactor.redact(text.encode()) == (text.encode(), 0)


def test_lines_of_json_stay_lines_of_json() -> None:
    """Only lines with a secret are written anew; numbers that hold the digits of a secret stay."""
    redactor = Redactor({"PIN": "12345678"})
    rows = [{"seed": 1234567890}, {"seed": 1, "text": "pin 12345678"}, {"a": [1.5, None, True, "x"]}]
    data = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    found, count = redactor.redact(data)
    assert count == 1
    assert [json.loads(line) for line in found.splitlines()] == [rows[0], {"seed": 1, "text": "pin [redacted:PIN]"}, rows[2]]


def test_keys_that_become_equal_lose_no_value() -> None:
    """Two secrets as keys of one object leave two keys."""
    data = b'{"correct-horse-7 a":1,"correct-horse-7 a ":2,"x":3}'
    found, _ = Redactor({"P": "correct-horse-7"}).redact(data.replace(b" a", b""))
    assert sorted(json.loads(found).values()) == [1, 2, 3]


@pytest.mark.parametrize(("literals", "reason"), [({"A": "short"}, "has 5 characters"), ({"a b": "long enough"}, "is not made of")])
def test_a_redactor_that_would_do_harm_is_refused(literals: dict[str, str], reason: str) -> None:
    """Short values and names that cannot stand in JSON are mistakes; the message does not show the value."""
    with pytest.raises(ValueError, match=reason) as caught:
        Redactor(literals)
    assert all(value not in str(caught.value) for value in literals.values())


def test_what_is_stored_holds_no_secret(tmp_path: Path) -> None:
    """Events, actors and spilled payloads are redacted before they are written, and the record says how often."""
    with create_ledger(tmp_path / "ledger", origin="a", registry=_REGISTRY, redactor=_REDACTOR) as store:
        event = Noted(text=f"x {_SECRET} sk-0123456789abcdefgh", table={_SECRET: "correct-horse-7"}, any=[{"deep": _SECRET}])
        answer = store.append("run/a", [Numbered(number=1), event], meta=Meta(actor="ann correct-horse-7"))
        store.append("run/a", [Noted(text=f"{_SECRET} " * 9000)])
        first, second, third = store.read("run/a")
    assert answer.is_redacted
    assert (first.meta.num_redactions, second.meta.num_redactions, third.meta.num_redactions) == (1, 6, 9000)
    assert first.meta.actor == "ann [redacted:PLAIN]"
    assert second.event == Noted(
        text="x [redacted:TEACHER_KEY] [redacted:sk]",
        table={"[redacted:TEACHER_KEY]": "[redacted:PLAIN]"},
        any=[{"deep": "[redacted:TEACHER_KEY]"}],
    )
    stored = b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())
    assert b"correct-horse" not in stored
    assert b"rd-1" not in stored


def test_a_secret_that_cannot_be_replaced_is_refused() -> None:
    """A secret in the name of a stream or a key, or where the event takes no other text, is an error and nothing is stored."""
    store = MemoryStore(_REGISTRY, redactor=Redactor({"A": "correct-horse-7"}))
    for stream, key in (("run/correct-horse-7", None), ("run/a", "correct-horse-7")):
        with pytest.raises(EncodeError, match="holds a secret"):
            store.append(stream, [Numbered(number=1)], key=key)
    with pytest.raises(EncodeError, match=r"example\.noted holds a secret in a field"):
        store.append("run/a", [Noted(text="", choice="correct-horse-7")])
    assert store.end().position == 1


def test_a_live_state_is_that_of_what_is_stored() -> None:
    """A handle that appended a secret holds the same state as one that reads it."""
    decider: Decider[str, tuple[str, ...], Noted, None] = Decider(
        initial=(),
        decide=lambda command, state: (Noted(text=command),),
        evolve=lambda state, event: (*state, event.text),
        pending=lambda state: None,
    )
    store = MemoryStore(_REGISTRY, redactor=_REDACTOR)
    live = Live(store, "run/a", decider)
    assert live.handle("correct-horse-7") == ("[redacted:PLAIN]",)
    assert live.handle("plain") == ("[redacted:PLAIN]", "plain") == Live(store, "run/a", decider).state


def test_a_redactor_can_be_given_on_opening(tmp_path: Path) -> None:
    """A ledger does not remember its redactor: each process brings the one for the secrets it holds."""
    create_ledger(tmp_path / "ledger", origin="a", registry=_REGISTRY).close()
    with open_ledger(tmp_path / "ledger", registry=_REGISTRY, redactor=_REDACTOR) as store:
        store.append("run/a", [Noted(text="correct-horse-7")])
        assert next(store.read("run/a")).event == Noted(text="[redacted:PLAIN]")
