"""All keys and commands, searchable; choosing a line does what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from attrs import frozen
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from tui.commands import COMMANDS, Command
from tui.keymap import Key, Keymap
from tui.screens.typing_dialog import TypingDialog
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column, RowList, Rows
from tui.widgets.virtual_lines import VirtualLines

__all__ = ["HelpScreen"]

_COLUMNS = (Column("key", 12), Column("what it does", 44, grows=True), Column("where", 12, rank=1), Column("id", 18, rank=2))


@frozen
class _Entry:
    key: str
    help: str
    where: str
    id: str
    obstacle: str
    """Why it cannot be done here; empty if it can."""
    choice: Key | Command


class HelpScreen(TypingDialog[Key | Command | None]):
    """Answers with the row that was chosen."""

    DEFAULT_CSS = """
    HelpScreen > Vertical { width: 100; max-width: 96%; height: 90%; border: round $kd-accent; background: $kd-background; padding: 0 1; }
    HelpScreen RowList { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("down", "move('do_down')", show=False, priority=True),
        Binding("up", "move('do_up')", show=False, priority=True),
        Binding("pagedown", "move('do_page_down')", show=False, priority=True),
        Binding("pageup", "move('do_page_up')", show=False, priority=True),
    ]

    def __init__(self, keymap: Keymap, *, is_writable: bool, can_answer: Callable[[Key], bool]) -> None:
        super().__init__()
        self._entries = (
            *(_entry(key, is_writable=is_writable, can_answer=can_answer) for key in keymap.rows),
            *(_command_entry(command, is_writable=is_writable) for command in COMMANDS),
        )
        self._found: Sequence[_Entry] = self._entries

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "keys and commands"
            search = Input(placeholder="search; Enter does what the line says", id="search", select_on_focus=False)
            search.cursor_blink = False
            yield search
            yield RowList()

    def on_mount(self) -> None:
        self._show("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._show(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._choose()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        self._choose()

    def action_move(self, name: str) -> None:
        """Move in the list while typing."""
        getattr(self.query_one(VirtualLines), name)()

    def _choose(self) -> None:
        index = self.query_one(RowList).chosen
        if index is None:
            return
        entry = self._found[index]
        if entry.obstacle:
            self.notify(entry.obstacle, severity="warning", markup=False)
        else:
            self.dismiss(entry.choice)

    def _show(self, text: str) -> None:
        words = text.casefold().split()
        found = tuple(entry for entry in self._entries if all(word in _searched(entry) for word in words))
        self._found = found

        def cells(index: int) -> Sequence[Pieces]:
            entry = found[index]
            tone = "muted" if entry.obstacle else "text"
            said = f"{entry.help} ({entry.obstacle})" if entry.obstacle else entry.help
            return (((entry.key, "accent"),), ((said, tone),), ((entry.where, "muted"),), ((entry.id, "muted"),))

        self.query_one(RowList).rows = Rows(
            columns=_COLUMNS, num_rows=len(found), cells=cells, key=lambda index: found[index].id, empty="nothing is called so"
        )


def _entry(key: Key, *, is_writable: bool, can_answer: Callable[[Key], bool]) -> _Entry:
    if key.needs_write and not is_writable:
        obstacle = "start with --write"
    elif not can_answer(key):
        obstacle = "not on this screen"
    else:
        obstacle = ""
    return _Entry(" ".join(map(Keymap.shown, key.keys)), key.help, key.scope, key.id, obstacle, key)


def _command_entry(command: Command, *, is_writable: bool) -> _Entry:
    obstacle = "start with --write" if command.needs_write and not is_writable else ""
    return _Entry(f":{command.name} {command.argument}".strip(), command.help, "command", command.name, obstacle, command)


def _searched(entry: _Entry) -> str:
    return f"{entry.key} {entry.help} {entry.where} {entry.id}".casefold()
