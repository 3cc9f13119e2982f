"""One table of all keys: dispatch, footer, help, palette and command line read it, so none of them can say anything else.

A key of a screen or pane comes before the same key of a wider scope. Every row is answered by a method `do_<id>` of the
focused widget, of one around it, of the screen or of the application, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from attrs import evolve as replace
from attrs import frozen
from textual.keys import Keys

__all__ = ["KEYS", "Key", "Keymap"]


@frozen
class Key:
    """One thing that keys do."""

    id: str
    """`next_match`; people remap keys by it."""
    keys: tuple[str, ...]
    """As Textual names them; punctuation as the character itself."""
    scope: str
    """`everywhere`, `lists`, `position`, `charts`, `control`, or a screen's name."""
    title: str
    """A word or two for the footer."""
    help: str
    needs_write: bool = False


def _key(id: str, keys: str, scope: str, title: str, help: str, *, needs_write: bool = False) -> Key:
    return Key(id, tuple(keys.split()), scope, title, help, needs_write)


KEYS: tuple[Key, ...] = (
    _key("runs_screen", "1", "everywhere", "runs", "Show all runs"),
    _key("run_screen", "2", "everywhere", "run", "Show the open run: stages, charts, gates, alerts"),
    _key("timeline_screen", "3", "everywhere", "timeline", "Show the open run over time, scrub, compare two moments"),
    _key("ledger_screen", "4", "everywhere", "ledger", "Show every record with its bytes and its proof"),
    _key("data_screen", "5", "everywhere", "data", "Show the open run's samples"),
    _key("evaluation_screen", "6", "everywhere", "evaluation", "Show the open run's measurements and items"),
    _key("governance_screen", "7", "everywhere", "governance", "Show the open run's gates and verdict"),
    _key("compare_screen", "8", "everywhere", "compare", "Compare the runs that are marked"),
    _key("command_line", ":", "everywhere", "command", "Type a command"),
    _key("filter", "/", "everywhere", "filter", "Filter the list"),
    _key("help", "?", "everywhere", "help", "Show all keys; choosing one runs it"),
    _key("palette", "ctrl+p", "everywhere", "palette", "Find a command by its words"),
    _key("next_pane", "tab", "everywhere", "pane", "Go to the next pane"),
    _key("previous_pane", "shift+tab", "everywhere", "pane back", "Go to the previous pane"),
    _key("open", "enter", "everywhere", "open", "Open what is chosen"),
    _key("back", "escape", "everywhere", "back", "Go back, close, or clear the filter"),
    _key("leave", "q", "everywhere", "leave", "Leave; the run goes on"),
    _key("interrupt", "ctrl+c", "everywhere", "leave", "Say how to leave; twice within 2 s leaves"),
    _key("copy_link", "y", "everywhere", "copy link", "Copy the link of what is shown"),
    _key("copy_command", "Y", "everywhere", "copy command", "Copy the kd command that prints what is shown"),
    _key("origin", "o", "everywhere", "origin", "Show the record that set this"),
    _key("zoom", "z", "everywhere", "zoom", "Give the pane the whole screen, and back"),
    _key("theme", "T", "everywhere", "theme", "Use the next theme"),
    _key("snapshot", "ctrl+s", "everywhere", "snapshot", "Save a picture of the screen as SVG"),
    _key("repaint", "ctrl+r", "everywhere", "repaint", "Draw everything again"),
    _key("down", "j down", "lists", "down", "Next line"),
    _key("up", "k up", "lists", "up", "Previous line"),
    _key("top", "g home", "lists", "first", "First line"),
    _key("bottom", "G end", "lists", "last", "Last line"),
    _key("page_down", "pagedown", "lists", "page down", "One page on"),
    _key("page_up", "pageup", "lists", "page up", "One page back"),
    _key("next_match", "n", "lists", "next match", "Next line that matches the filter"),
    _key("previous_match", "N", "lists", "previous match", "Previous line that matches the filter"),
    _key("sort", "s", "lists", "sort", "Sort by the next column"),
    _key("follow", "F", "lists", "follow", "Stay at the newest line"),
    _key("mark", "c", "lists", "mark", "Mark to compare, or take the mark away"),
    _key("previous_record", ",", "position", "record", "One record back"),
    _key("next_record", ".", "position", "record on", "One record on"),
    _key("previous_marker", "{", "position", "marker", "Back to the marker before"),
    _key("next_marker", "}", "position", "marker on", "On to the next marker"),
    _key("previous_item", "[", "position", "previous", "Previous item"),
    _key("next_item", "]", "position", "next", "Next item"),
    _key("play", "space", "position", "play", "Play the past, or hold the view"),
    _key("faster", "+", "position", "faster", "Play faster"),
    _key("slower", "-", "position", "slower", "Play slower"),
    _key("pin", "=", "position", "pin", "Pin this moment as A, then as B, and see what changed"),
    _key("live", "L", "position", "live", "Follow the end of the ledger"),
    _key("log_axis", "l", "charts", "log", "Logarithmic axis, and back"),
    _key("half_life", "h", "charts", "half-life", "Next half-life of the smoothed line"),
    _key("axis", "x", "charts", "axis", "Next horizontal axis"),
    _key("pan_left", "<", "charts", "pan", "Move the window back"),
    _key("pan_right", ">", "charts", "pan on", "Move the window on"),
    _key("zoom_in", "i", "charts", "zoom in", "Show less, larger"),
    _key("zoom_out", "u", "charts", "zoom out", "Show more, smaller"),
    _key("reset_zoom", "0", "charts", "all", "Show everything"),
    _key("pause", "P", "control", "pause", "Ask the run to pause", needs_write=True),
    _key("resume", "R", "control", "resume", "Let a new process take the run up", needs_write=True),
    _key("cancel", "X", "control", "cancel", "Ask the run to end for good", needs_write=True),
    _key("waive", "W", "control", "waive", "Accept for a while what a gate found", needs_write=True),
    _key("prove", "v", "ledger", "prove", "Write a proof that the record is under the signed head"),
    _key("blob", "b", "data", "blob", "Show the blob behind the sample"),
    _key("call_diff", "d", "evaluation", "call diff", "Show where the calls of the two runs differ"),
    _key("baseline", "b", "evaluation", "baseline", "Choose the run to compare with"),
    _key("expired", "e", "governance", "expired too", "Show what has expired as well"),
    _key("prove_verdict", "v", "governance", "prove", "Write a proof of the verdict's record"),
    _key("all_keys", "a", "compare", "all keys", "Show equal configuration keys too"),
    _key("metric", "m", "compare", "metric", "Next metric"),
    _key("measurements", "d", "compare", "measurements", "Show the measurements side by side"),
    _key("remove_run", "r", "compare", "remove", "Take the run out of the comparison"),
)
_NAMES = {
    ",": "comma", ".": "full_stop", "{": "left_curly_bracket", "}": "right_curly_bracket", "[": "left_square_bracket",
    "]": "right_square_bracket", "+": "plus", "-": "minus", "=": "equals_sign", "<": "less_than_sign", ">": "greater_than_sign",
    ":": "colon", "/": "slash", "?": "question_mark", "!": "exclamation_mark",
}  # fmt: skip
_SHOWN = {
    "enter": "Enter", "escape": "Esc", "tab": "Tab", "space": "Space", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
    "up": "Up", "down": "Down",
}  # fmt: skip

_NAMED = frozenset(key.value for key in Keys if key.value.isascii() and not key.value.startswith("<")) | {"space", *_NAMES.values()}
"""As Textual names them."""
_MODIFIERS = ("ctrl+", "shift+", "alt+")


class Keymap:
    """The table with a person's own keys, looked up by key or by id."""

    WIDE: ClassVar[tuple[str, ...]] = ("lists", "position", "charts", "control", "everywhere")
    """Scopes that every screen has, in the order in which they answer."""

    def __init__(self, keys: Iterable[Key] = KEYS) -> None:
        self.rows = tuple(keys)
        self._by_id = {(row.scope, row.id): row for row in self.rows}
        self._by_key: dict[str, list[Key]] = {}
        for row in self.rows:
            for key in row.keys:
                self._by_key.setdefault(_NAMES.get(key, key), []).append(row)

    @classmethod
    def remapped(cls, own: Mapping[str, str]) -> Keymap:
        """The table with the keys of `own`, by id; ValueError naming every mistake at once."""
        ids = {row.id for row in KEYS}
        problems = [f"keys.{id}: there is no such key id; see ? in kd tui." for id in own if id not in ids]
        rows = [replace(row, keys=tuple(str(own[row.id]).split())) if row.id in own else row for row in KEYS]
        seen: dict[tuple[str, str], str] = {}
        for row in rows:
            if not row.keys:
                problems.append(f"keys.{row.id}: it is empty, expected one or more keys with spaces between them.")
            for key in row.keys:
                if not _is_key(key):
                    problems.append(f"keys.{row.id}: {key!r} is no key, expected one such as p, P, f5, ctrl+x, pagedown or {{.")
                other = seen.setdefault((row.scope, key), row.id)
                if other != row.id:
                    problems.append(f"keys.{row.id}: {key} is also {other}; give one of them another key.")
        if problems:
            raise ValueError("\n".join(problems))
        return cls(rows)

    def names(self) -> tuple[str, ...]:
        """Every key that means something anywhere, as Textual names them."""
        return tuple(self._by_key)

    def answers(self, key: str, screen: str) -> tuple[Key, ...]:
        """What `key` may mean on the screen called `screen`, the nearest meaning first."""
        order = (screen, *self.WIDE)
        return tuple(sorted((row for row in self._by_key.get(key, ()) if row.scope in order), key=lambda row: order.index(row.scope)))

    def find(self, id: str, screen: str) -> Key | None:
        """The row called `id` on that screen."""
        return next((self._by_id[scope, id] for scope in (screen, *self.WIDE) if (scope, id) in self._by_id), None)

    @staticmethod
    def shown(key: str) -> str:
        """`ctrl+p` as `Ctrl-P`."""
        if key.startswith("ctrl+"):
            return f"Ctrl-{key[5:].upper()}"
        if key.startswith("shift+"):
            return f"Shift-{Keymap.shown(key[6:])}"
        return _SHOWN.get(key, key)


def _is_key(key: str) -> bool:
    """Whether a terminal can send `key`: a character, or a name, with modifiers or without."""
    for modifier in _MODIFIERS:
        key = key.removeprefix(modifier)
    return key in _NAMED or (len(key) == 1 and key.isprintable())
