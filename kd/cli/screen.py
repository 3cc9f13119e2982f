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

__all__ = ["is_read", "print_document", "print_error", "print_line", "print_record_line", "print_table"]

_is_read = True


def print_document(document: object) -> None:
    """One JSON document on standard output."""
    _write(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def print_record_line(document: object) -> None:
    """One JSON document on one line."""
    _write(json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str))


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
        print_line("\t".join(columns))
        for row in rows:
            print_line("\t".join(_cell(row.get(column)) for column in columns))
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
    return "".join(character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1] for character in text)
