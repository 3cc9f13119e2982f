"""Foreign text is shown, never obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.views.safe_text import cell_width, safe_lines, safe_text

_OBEYED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.characters(codec=None), max_size=60) | st.binary(max_size=60))
def test_no_character_is_left_that_a_terminal_obeys(text: str | bytes) -> None:
    """Of characters that control, format or are nothing, only the two joiners stay; and once is enough."""
    shown = safe_text(text)
    assert not [c for c in shown if unicodedata.category(c) in _OBEYED and c not in "\u200c\u200d"]
    assert safe_text(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m\r\n\x7f\x00", "␛[31mred␛[0m␍␊␡␀"),
        ("a\tb", "a    b"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("a\u202eb\u2066\u00ad\ufeff", "a⟨U+202E⟩b⟨U+2066⟩⟨U+00AD⟩⟨U+FEFF⟩"),
        ("\U000e0041\ue000\u2028", "⟨U+E0041⟩⟨U+E000⟩⟨U+2028⟩"),
        ("👩\u200d🔬 é 漢", "👩\u200d🔬 é 漢"),
        ("\ud800", "⟨U+D800⟩"),
        (b"a\xff\xc3\xa9", "a\ufffdé"),
    ],
)
def test_what_is_shown_instead(text: str | bytes, shown: str) -> None:
    """Controls become pictures, other dangers their code points; joiners, letters and signs stay."""
    assert safe_text(text) == shown


def test_heaps_of_marks_are_cut() -> None:
    """Of many combining marks in a row eight stay."""
    assert safe_text("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 8 + "b"


@pytest.mark.parametrize("text", ["x" * 5000, "漢" * 5000, "\x1b" * 5000, "\u202e" * 5000, "a\u0301" * 5000, "a" + "\u0301" * 90_000 + "b"])
def test_a_line_ends_in_time(text: str) -> None:
    """A drawn line has at most 2,000 cells, and says that it was cut."""
    shown = safe_text(text)
    assert cell_width(shown) <= 2000
    assert shown.endswith("…")


def test_only_a_line_feed_ends_a_line() -> None:
    """Lines are those of the file, not those that other separators pretend."""
    assert safe_lines("a\nb\r\nc\u2028d\x0be\n") == ("a", "b␍", "c⟨U+2028⟩d␋e")
    assert safe_lines(b"") == ("",)
