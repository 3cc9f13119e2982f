"""Keys in one burst: each finds what the one before it opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.judged_ledger import FIRST, write_judged_ledger
from tests.tui.ledgers import ALPHA, BETA, GAMMA, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.screens.command_line import CommandLine
from tui.screens.control import RequestDialog
from tui.screens.help import HelpScreen
from tui.screens.ledger import LedgerScreen
from tui.screens.run import RunScreen
from tui.widgets.filter_line import FilterLine
from tui.widgets.metric_table import MetricTable
from tui.widgets.row_list import RowList


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


def burst(pilot: Pilot[int], text: str) -> None:
    """Type all of `text` before any of it is looked at; a new line is Enter."""
    for character in text:
        key = {"\n": "enter", "\x1b": "escape"}.get(character) or _character_to_key(character)
        pilot.app.post_message(events.Key(key, character))


async def test_a_command_is_typed_and_run_in_one_burst(ledger: Path) -> None:
    """Nothing behind the colon is lost, or taken for a key of the screen below."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, ":at 20\n")
        await wait_for(pilot, lambda: app.feed.frame.position == 20 and not app.feed.frame.is_live)
        assert not isinstance(app.screen, CommandLine)


@pytest.mark.parametrize("burst_of", ["?every record", "4?every record", "jj?every record"])
async def test_what_is_searched_in_help_is_typed_at_once(ledger: Path, burst_of: str) -> None:
    """Keys before it were keys; those behind it are the words."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, burst_of)
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.query_one(Input).value == "every record")


async def test_a_reason_follows_its_key_at_once(ledger: Path) -> None:
    """The dialog's first field has what was typed behind the key."""
    app = make_app(ledger, write=True, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, "Podd loss, quit")
        await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog))
        await wait_for(pilot, lambda: app.screen.query_one("#reason", Input).value == "odd loss, quit")


async def test_a_resume_can_be_confirmed_at_once(ledger: Path) -> None:
    """Enter behind the reason goes on to the button, and the next one presses it."""
    app = make_app(ledger, write=True)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, "Rback\n\n")
        await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog))
        await wait_for(pilot, lambda: "another try cannot help" in text_of(app) and GAMMA in text_of(app))


async def test_keys_behind_each_other_reach_the_screen_that_enter_opened(ledger: Path) -> None:
    """The run is opened by a burst, and once it is on the screen another one moves in its figures and opens one."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, "j\n")
        await wait_for(pilot, lambda: isinstance(app.screen, RunScreen) and app.feed.frame.run == BETA and app.is_settled)
        burst(pilot, "jj\n")
        await wait_for(
            pilot, lambda: (app.screen.query_one(MetricTable).state.chosen, app.screen.query_one(MetricTable).state.is_open) == (2, True)
        )


async def test_keys_behind_a_command_reach_the_screen_that_it_opened(ledger: Path) -> None:
    """The command is done before the next key is looked at."""
    app = make_app(ledger)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        burst(pilot, ":run alpha\njjj")
        await wait_for(pilot, lambda: isinstance(app.screen, RunScreen) and app.feed.frame.run == ALPHA)
        await wait_for(pilot, lambda: app.screen.query_one(MetricTable).state.chosen == 3)


async def test_keys_behind_enter_and_escape_reach_the_pane_that_has_the_focus_then(tmp_path: Path) -> None:
    """Enter goes into the text, where j scrolls; in the ledger Escape goes back to the list, where j moves."""
    write_judged_ledger(tmp_path / "ledger")
    app = make_app(tmp_path / "ledger", run_id=FIRST, first_screen=5)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and app.screen.query_one("#samples", RowList).chosen == 0)
        burst(pilot, "\njj")
        await wait_for(pilot, lambda: app.screen.query_one("#text").has_focus)
        assert app.screen.query_one("#samples", RowList).chosen == 0
        await pilot.press("4", "g")
        await wait_for(pilot, lambda: isinstance(app.screen, LedgerScreen))
        screen = app.screen
        assert isinstance(screen, LedgerScreen)
        await wait_for(pilot, lambda: screen.chosen_position == 0)
        burst(pilot, "\n\x1bjj")
        await wait_for(pilot, lambda: screen.chosen_position == 2 and not screen.has_class("-one-record"))


async def test_a_filter_is_typed_in_one_burst(ledger: Path) -> None:
    """No letter of it is taken for a key."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and isinstance(app.screen, LedgerScreen))
        burst(pilot, "/loss q")
        await wait_for(pilot, lambda: app.screen.query_one(FilterLine).value == "loss q")
