"""Where a command's words go: one JSON document, or tables in a terminal and plain lines elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kd.views.safe_text import is_drawable, safe_lines, safe_text

__all__ = ["is_read", "print_document", "print_error", "print_line", "print_record_line", "print_table"]

_is_read = True
_MAX_CELLS = 1_000_000
"""People who ask for a text get all of it."""


def print_document(document: object) -> None:
    """One JSON document on standard output."""
    _write(_json(document, indent=2))


def print_record_line(document: object) -> None:
    """One JSON document on one line."""
    _write(_json(document, separators=(",", ":")))


def print_line(text: str = "") -> None:
    """A line for people; control characters of foreign text are shown, not obeyed."""
    _write(_printable(text))


def print_error(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(_printable(text) + "\n")
    sys.stderr.flush()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """`rows` as a table in a terminal, as tab-separated lines with a heading elsewhere."""
    console = Console()
    if not console.is_terminal:
        _write("\t".join(columns))
        for row in rows:
            _write("\t".join(safe_text(_cell(row.get(column)), max_cells=_MAX_CELLS) for column in columns))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if rows and _is_number(rows[0].get(column)) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(_cell(row.get(column)))) for column in columns))
    console.print(table)


def is_read() -> bool:
    """Whether anybody still reads standard output."""
    return _is_read


def _write(text: str) -> None:
    """A line on standard output; where its reader has gone, as after `| head`, the command goes on and keeps its exit code."""
    global _is_read
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _is_read = False
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _printable(text: str) -> str:
    return "\n".join(safe_lines(text, max_cells=_MAX_CELLS))


def _json(document: object, **layout: Any) -> str:
    """`document` as JSON in which what a terminal would obey is escaped; read back it is the same."""
    return json.dumps(document, ensure_ascii=False, default=str, **layout).translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """Of characters by their code; JSON itself escapes those below the space, so that one there is its layout."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if code >= ord(" ") and not is_drawable(character):
            character = f"\\u{code:04x}" if code <= 0xFFFF else json.dumps(character)[1:-1]
        self[code] = character
        return character


_ESCAPES = _Escapes()
