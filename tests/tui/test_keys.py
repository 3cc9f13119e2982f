"""Keys: one table that cannot contradict itself, every row of which somebody answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui import app as app_module
from tui.commands import COMMANDS
from tui.keymap import KEYS, Keymap
from tui.screens.help import HelpScreen
from tui.steering import SteeringApp
from tui.widgets import virtual_lines


def test_ids_and_keys_are_unique_within_a_scope() -> None:
    """No scope has two rows of one id, or two rows for one key."""
    assert max(Counter((row.scope, row.id) for row in KEYS).values()) == 1
    assert max(Counter((row.scope, key) for row in KEYS for key in row.keys).values()) == 1


def test_every_row_is_answered_by_somebody() -> None:
    """Each id has a method in a widget, a screen or the application."""
    owners = [SteeringApp, virtual_lines.VirtualLines, *app_module.SCREENS]
    answered = {name for owner in owners for name in dir(owner) if name.startswith("do_")}
    widgets = Path(virtual_lines.__file__).parent
    answered |= {
        line.split("(")[0].split()[-1] for path in widgets.glob("*.py") for line in path.read_text().splitlines() if "def do_" in line
    }
    assert sorted({row.id for row in KEYS} - {name.removeprefix("do_") for name in answered}) == []


def test_every_command_is_answered_by_the_application() -> None:
    """What `:` offers is there."""
    assert all(hasattr(SteeringApp, f"command_{command.name}") for command in COMMANDS)


def test_controls_need_leave_to_write_and_are_capitals() -> None:
    """A stray key does no harm."""
    controls = [row for row in KEYS if row.scope == "control"]
    assert controls
    assert all(row.needs_write and key.isupper() for row in controls for key in row.keys)


def test_a_screen_s_own_key_comes_first() -> None:
    """`b` means one thing on Data and another on Evaluation, and nothing on Runs."""
    keymap = Keymap()
    assert [row.id for row in keymap.answers("b", "data")] == ["blob"]
    assert [row.id for row in keymap.answers("b", "evaluation")] == ["baseline"]
    assert keymap.answers("b", "runs") == ()


def test_own_keys_replace_those_of_the_table() -> None:
    """A remapped id answers to its new key alone."""
    keymap = Keymap.remapped({"pause": "f5"})
    assert [row.id for row in keymap.answers("f5", "runs")] == ["pause"]
    assert keymap.answers("P", "runs") == ()


def test_all_mistakes_in_own_keys_are_told_at_once() -> None:
    """An unknown id and a key given twice are both named."""
    with pytest.raises(ValueError, match=r"no such key id(.|\n)*pause"):
        Keymap.remapped({"nonesuch": "x", "pause": "X"})


@pytest.mark.parametrize("key", ["frobnicate", "ctrl+frobnicate", "ctrl+", "F5", "pgup", "{}"])
def test_what_is_no_key_is_refused(key: str) -> None:
    """A key that no terminal sends would leave its row unreachable."""
    with pytest.raises(ValueError, match=r"keys\.pause: .* is no key"):
        Keymap.remapped({"pause": key})


@pytest.mark.parametrize("key", ["p", "é", "{", "f5", "ctrl+x", "shift+tab", "pagedown", "alt+x", "left_curly_bracket", "f5 space"])
def test_what_is_a_key_is_taken(key: str) -> None:
    """Characters, and names with modifiers or without."""
    assert Keymap.remapped({"pause": key}).find("pause", "none").keys == tuple(key.split())  # type: ignore[union-attr]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


async def test_help_is_searched_and_does_what_its_line_says(ledger: Path) -> None:
    """Enter on a found line runs it; what is out of reach says why."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen))
        app.screen.query_one(Input).value = "ask the run to pause"
        await wait_for(pilot, lambda: "start with --write" in text_of(app))
        app.screen.query_one(Input).value = "every record with"
        await wait_for(pilot, lambda: "ledger_screen" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: "kd ▸ ledger" in text_of(app))


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("ledger_screen", "kd ▸ ledger"),
        ("at 20", "VIEW HELD"),
        (f"{ALPHA}@20", "VIEW HELD"),
        ("theme kd-light", "kd ▸"),
        ("alerts", "No run is open"),
        ("nonesuch", "There is no command"),
        ("at 99999", "There is no position"),
        ("run nobody", "There is no run"),
        (f"{ALPHA}@20", "kd ▸ runs"),
        ("at @20~00000000", "another ledger"),
        (f"{ALPHA}@20~00000000", "another ledger"),
        ("at nobody@20", "There is no run"),
        ("record x", "There is no position"),
        ("start x", "--write"),
        ("theme x", "There is no theme"),
    ],
)
async def test_what_is_typed_is_done_or_answered_in_words(ledger: Path, typed: str, seen: str) -> None:
    """Every command either shows what it did or one sentence."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command(typed)
        await wait_for(pilot, lambda: seen in text_of(app))


@pytest.mark.parametrize("typed", ["at nobody@20", f"at {ALPHA}@20~00000000"])
async def test_a_link_that_is_not_of_this_ledger_moves_nothing(ledger: Path, typed: str) -> None:
    """The view stays where it was, and so does the open run."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command(typed)
        await wait_for(pilot, lambda: "There is no run" in text_of(app) or "another ledger" in text_of(app))
        assert app.feed.frame.is_live
        assert app.feed.frame.run is None


async def test_ctrl_c_says_how_to_leave_and_leaves_the_second_time(ledger: Path) -> None:
    """It never touches the run."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: "q leaves" in text_of(app))
        await pilot.press("ctrl+c")
    assert app.return_value == 0


async def test_y_copies_a_link_that_names_the_chain(ledger: Path) -> None:
    """The clipboard gets the long form, and nothing that a model wrote."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command(f"{ALPHA}@20")
        await wait_for(pilot, lambda: app.feed.frame.position == 20 and app.feed.frame.run == ALPHA)
        await pilot.press("4")
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("y")
        assert app.clipboard.startswith(f"{ALPHA}@20~")
        await pilot.press("Y")
        assert app.clipboard.startswith(f"kd show '{ALPHA}@20~")
