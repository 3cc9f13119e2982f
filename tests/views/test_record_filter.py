"""Filters match what they say, on lines as on records, and name the column of a mistake."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.run import events as run_events
from kd.views.record_filter import FilterError, parse_filter
from ledger.record import Record
from tests.views.examples import RUN, START_MS, claimed, recorded, step, training_run

_ROWS = [
    *training_run(20),
    (f"run/{RUN}", run_events.PauseRequested(reason="Straße (look)"), 25),
    step(21, 30, norm=31.2),
    claimed(40, "xy"),
]
_RECORDS = recorded(_ROWS)
_BIG = recorded([(f"run/{RUN}", run_events.PauseRequested(reason="x" * 70_000 + "needle"), 1)])


def _found(text: str, records: list[Record] = _RECORDS) -> list[int]:
    chosen = parse_filter(text, now_ms=START_MS + 40_000)
    found = [record for record in records if chosen.matches(record)]
    in_lines = chosen.match_lines([record.line for record in records])
    assert [record for record, is_match in zip(records, in_lines) if is_match is not False] == found
    return [record.position for record in found]


def _names(text: str) -> set[str]:
    return {record.name for record in _RECORDS if record.position in _found(text)}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", len(_RECORDS)),
        ("  ", len(_RECORDS)),
        ("type:training.step_*", 21),
        ("type=training.step_completed e.grad_norm>10", 1),
        ("type:training.* and e.grad_norm>10 and not stage:export", 1),
        ("e.step<=3", 3),
        ("e.step>=3 and e.step<5 or e.step=21", 3),
        ("e.step>=3 and (e.step<5 or e.step=21)", 3),
        ("e.parts.name:kd !e.step<20", 2),
        ("seq<3", 2),
        ("run:xy", 1),
        ("run:a*", len(_RECORDS) - 1),
        ("stream:own/*", 2),
        ("stage=training", 22),
        ("class:metric", 21),
        ("class!=metric", len(_RECORDS) - 21),
        ("time>=-10s", 2),
        ("time<2023-11-14T22:13:21Z", 1),
        ("time<2023-11-15T00:13:21+02:00", 1),
        ("STRASSE", 0),
        ("STRAßE", 1),
        ('"(look)"', 1),
        ("look or e.step=1", 2),
        ("PAUSE_requested", 1),
        ("e.reason:Stra*look)", 0),
        ('e.reason:"Stra*look)"', 1),
        ("e.is_now=false", 1),
        ("not e.step>0", len(_RECORDS) - 21),
        ("e.nothing!=1", 0),
    ],
)
def test_what_a_filter_finds(text: str, count: int) -> None:
    """Words, fields, globs, numbers, times and their combinations."""
    if text == "e.reason:Stra*look)":
        with pytest.raises(FilterError):
            parse_filter(text)
    else:
        assert len(_found(text)) == count


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("foo:1", 1),
        ("a and", 6),
        ("a or or b", 6),
        ("(a b", 1),
        ("a) b", 2),
        ('type:"x', 6),
        ("seq>", 5),
        ("time>yesterday", 6),
        ("time>2023-02-30", 6),
        ("e.:1", 1),
        ("not", 4),
        ("()", 2),
        ("(" * 60 + "a" + ")" * 60, 52),
    ],
)
def test_a_mistake_has_a_column(text: str, column: int) -> None:
    """What is wrong is named with its place, counted from 1."""
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert caught.value.column == column


def test_a_time_ago_needs_a_present() -> None:
    """-15m means nothing where nobody says what time it is."""
    with pytest.raises(FilterError, match="is no time"):
        parse_filter("time>-15m")


@given(st.text('abe.:=!<>()"* -15m\x1b', max_size=30))
def test_any_text_is_a_filter_or_a_mistake(text: str) -> None:
    """Typing never raises anything else, and every filter can be used."""
    with contextlib.suppress(FilterError):
        parse_filter(text, now_ms=START_MS).matches(_RECORDS[0])


def test_a_line_and_its_record_agree() -> None:
    """What a line alone can tell is what its record says."""
    for text in ("e.grad_norm>10", "type:run.*", "not 21", "e.step>5 or actor:ana*", "!(stage:training)"):
        chosen = parse_filter(text)
        assert chosen.match_lines([r.line for r in _RECORDS]) == [chosen.matches(r) for r in _RECORDS]


_TERMS = st.sampled_from(
    [
        "e.step>5",
        "e.step<9",
        "training",
        "completed",
        "STRA",
        "Straß",
        "type:*.step_*",
        "stage:training",
        "e.reason:*needle",
        "e.parts.name:kd",
        "seq<9",
    ]
)
_TEXTS = st.recursive(
    _TERMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' and '.join(terms)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' or '.join(terms)})"),
        inner.map(lambda term: f"not {term}"),
    ),
    max_leaves=6,
)


@given(_TEXTS, st.permutations([*_RECORDS, *_BIG]))
def test_lines_that_are_looked_at_together_match_as_each_alone(text: str, records: list[Record]) -> None:
    """Neither what stands beside a line nor the order of lines changes whether it matches."""
    chosen = parse_filter(text)
    together = chosen.match_lines([record.line for record in records])
    assert together == [result for record in records for result in chosen.match_lines([record.line])]
    assert all(result in (None, chosen.matches(record)) for result, record in zip(together, records))


def test_a_line_that_cannot_be_read_has_words_and_no_fields() -> None:
    """A damaged line hides nothing of those beside it."""
    lines = [b'{"c":"', _RECORDS[0].line, b"\xff\xfe needle"]
    assert parse_filter("seq>=0").match_lines(lines) == [False, True, False]
    assert parse_filter("needle").match_lines(lines) == [False, False, True]
    assert parse_filter("not e.config.name:x").match_lines(lines) == [True, True, True]


def test_a_payload_in_a_blob_is_asked_of_the_record() -> None:
    """A line that cannot tell passes the first test, and the record decides."""
    (record,) = _BIG
    assert b"needle" not in record.line
    for text, is_match in (("e.reason:*needle", True), ("e.reason:*thread", False), ("not e.reason:*thread", True)):
        chosen = parse_filter(text)
        assert chosen.match_lines([record.line]) == [None]
        assert chosen.matches(record) is is_match


def test_a_glob_takes_time_in_proportion() -> None:
    """Many stars against a long text do not hang the viewer."""
    line = _RECORDS[0].line[:-1] + b',"k":"' + b"a" * 60_000 + b'"}'
    began = time.process_time()
    assert parse_filter("key:" + "*a" * 40 + "*b").match_lines([line]) == [False]
    assert time.process_time() - began < 1
