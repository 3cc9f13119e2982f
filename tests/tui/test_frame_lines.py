"""The first and the last line of a screen in a small terminal: what matters most is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, the first of them interrupted."""
    folder = tmp_path_factory.mktemp("lines") / "ledger"
    make_ledger(folder).close()
    return folder


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("screen", range(1, 9))
async def test_help_and_leave_are_at_the_foot_of_every_screen(ledger: Path, screen: int, write: bool) -> None:
    """Other keys give way to them."""
    app = make_app(ledger, run_id=ALPHA, first_screen=screen, write=write)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert text_of(app).splitlines()[-1].endswith("? help  q leave")


@pytest.mark.parametrize("position", [None, 30])
@pytest.mark.parametrize("screen", [2, 3])
async def test_the_state_has_its_word_at_the_head(ledger: Path, screen: int, position: int | None) -> None:
    """The run's id is shortened before it, and its end, which tells runs of one name apart, stays."""
    app = make_app(ledger, run_id=ALPHA, first_screen=screen, position=position)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        head = text_of(app).splitlines()[0]
        assert ("interrupted" if position is None else "running") in head
        assert "aaaaaa" in head
        assert head.endswith("READ-ONLY")
        assert "live" in head or "VIEW HELD" in head


async def test_waiving_is_at_the_foot_of_the_run(ledger: Path) -> None:
    """Where requests may be made, all of them are offered."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2, write=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert "P pause  X cancel  R resume  W waive" in text_of(app)


async def test_the_card_names_the_last_alert(ledger: Path) -> None:
    """Where no screen has room there is still room for what is wrong."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(60, 12)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert "✗ interrupted nobody works on the run" in text_of(app)
