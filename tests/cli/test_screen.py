"""What commands print is drawn by a terminal, never obeyed, and JSON stays what it was."""

from __future__ import annotations

import json

import pytest

from kd.cli.screen import print_document, print_error, print_line, print_record_line, print_table

_HOSTILE = "red \x1b[31m \x9b2J \u202e \x7f \r \U000e0001 é 漢"
_OBEYED = ("\x1b", "\x9b", "\u202e", "\x7f", "\r", "\U000e0001")


def _is_drawn(text: str) -> bool:
    return not any(character in text for character in _OBEYED)


def test_json_holds_the_same_and_nothing_that_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader of the document gets every character back; a terminal gets escapes."""
    for write in (print_document, print_record_line):
        write({"text": _HOSTILE, _HOSTILE: 1})
        printed = capsys.readouterr().out
        assert json.loads(printed) == {"text": _HOSTILE, _HOSTILE: 1}
        assert _is_drawn(printed)
        assert "é 漢" in printed


def test_lines_and_errors_show_controls_as_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    """A line feed ends a line; everything else that could act is visible."""
    print_line(f"one\n{_HOSTILE}")
    print_error(_HOSTILE)
    captured = capsys.readouterr()
    assert captured.out.startswith("one\nred ␛[31m ⟨U+009B⟩2J ⟨U+202E⟩ ␡ ␍ ")
    assert captured.out == f"one\n{captured.err}"
    assert _is_drawn(captured.out)


def test_a_row_stays_on_its_line_and_in_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Line feeds and tabs inside a cell make no further rows or columns."""
    print_table([{"a": "x\ny\tz", "b": 2.0}], ("a", "b"))
    assert capsys.readouterr().out == "a\tb\nx␊y    z\t2\n"
