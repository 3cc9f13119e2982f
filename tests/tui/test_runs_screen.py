"""The Runs screen: what each row says, what comes next, sorting, filtering and marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd.events import REGISTRY
from ledger import create_ledger
from tests.tui.ledgers import ALPHA, BETA, GAMMA, add_steps, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.screens.first_run import FirstRunScreen
from tui.screens.runs import RunsScreen
from tui.widgets.row_list import RowList


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs: interrupted, paused, failed."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


def _row(text: str, run: str) -> str:
    return next(line for line in text.splitlines() if run in line and "stages" not in line)


async def test_a_row_says_how_a_run_stands_in_sign_and_word(ledger: Path) -> None:
    """State, stages and progress are those of the fold; a run nobody owns reads interrupted."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        text = text_of(app)
        assert "↯ interrupted" in _row(text, ALPHA)
        assert "12/24" in _row(text, ALPHA)
        assert "✓‖○○○○" in _row(text, BETA)
        assert "✗ failed" in _row(text, GAMMA)
        assert "READ-ONLY" in text.splitlines()[0]


async def test_below_the_rows_stands_what_to_do_next(ledger: Path) -> None:
    """The chosen run's next step follows from its state."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert "Start a new run." in text_of(app)
        await pilot.press("j")
        await wait_for(pilot, lambda: f"kd resume {BETA}" in text_of(app))
        await pilot.press("G")
        await wait_for(pilot, lambda: f"kd resume {ALPHA}" in text_of(app))


async def test_words_leave_the_rows_that_hold_them_and_escape_brings_all_back(ledger: Path) -> None:
    """A filter line narrows the list at every key."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("/", *"state:paused")
        await wait_for(pilot, lambda: "1 of 3 runs" in text_of(app))
        assert GAMMA not in text_of(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: GAMMA in text_of(app))


async def test_sorting_keeps_the_chosen_run(ledger: Path) -> None:
    """The choice is a run, not a line."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.chosen_run == GAMMA
        await pilot.press("s")
        await wait_for(pilot, lambda: "by name" in text_of(app))
        assert screen.chosen_run == GAMMA
        assert screen.query_one(RowList).chosen == 2


async def test_marks_are_kept_and_taken_away(ledger: Path) -> None:
    """`c` marks a run to be compared; once more takes the mark away."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("c", "j", "c")
        assert list(app.feed.marked) == [GAMMA, BETA]
        await pilot.press("c")
        assert list(app.feed.marked) == [GAMMA]


async def test_enter_opens_the_run(ledger: Path) -> None:
    """Frames then carry the run's views."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("j", "enter")
        await wait_for(pilot, lambda: app.feed.frame.run == BETA and app.feed.frame.curves is not None)


async def test_what_is_appended_shows_without_a_key(ledger: Path, tmp_path: Path) -> None:
    """The list follows the ledger, and the run with the newest record comes first."""
    with make_ledger(tmp_path / "other") as store:
        app = make_app(tmp_path / "other")
        async with app.run_test(size=(140, 30)) as pilot:
            await wait_for(pilot, lambda: app.is_settled)
            add_steps(store, ALPHA, 13, 15)
            await wait_for(pilot, lambda: "15/24" in text_of(app))
            assert text_of(app).splitlines()[2].split()[0] == ALPHA


async def test_a_missing_ledger_is_waited_for(tmp_path: Path) -> None:
    """The first screen says where it looked, and gives way to the runs when the ledger appears."""
    app = make_app(tmp_path / "late")
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for(pilot, lambda: isinstance(app.screen, FirstRunScreen))
        assert "There is no ledger here yet." in text_of(app)
        make_ledger(tmp_path / "late").close()
        await wait_for(pilot, lambda: ALPHA in text_of(app))


async def test_an_empty_ledger_says_how_to_begin(tmp_path: Path) -> None:
    """No run is no blank screen."""
    create_ledger(tmp_path / "empty", origin="empty.invalid/tui", registry=REGISTRY).close()
    app = make_app(tmp_path / "empty")
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for(pilot, lambda: "There is no run in this ledger yet" in text_of(app))


@pytest.mark.parametrize(("size", "words"), [((60, 12), "needs 80x24 for more"), ((30, 8), "needs 40x10")])
async def test_a_small_terminal_gets_a_card(ledger: Path, size: tuple[int, int], words: str) -> None:
    """Under 80×24 the most important facts are left, under 40×10 the size that is needed."""
    app = make_app(ledger)
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: words in text_of(app))
