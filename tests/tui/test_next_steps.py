"""What a screen says to do next does it: the command means this ledger, and a key that needs leave says so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kd.events import REGISTRY
from kd.run.waiving import grant_waiver
from ledger import create_ledger
from ledger.testing import FixedClock
from tests.governance.waiver_examples import DAY_MS, NOW_MS, waiver
from tests.run.waiting_run import RUN, write_waiting_run, write_waived_run
from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs, in a folder that nobody would look in."""
    make_ledger(tmp_path / "a b").close()
    return tmp_path / "a b"


@pytest.mark.parametrize("screen", [1, 2])
@pytest.mark.parametrize("is_default", [False, True])
async def test_a_command_names_the_ledger_where_it_must(ledger: Path, screen: int, is_default: bool) -> None:
    """As a shell takes it, and not where the command would find the ledger by itself."""
    app = make_app(ledger, first_screen=screen, run_id=ALPHA, is_default_ledger=is_default)
    async with app.run_test(size=(240, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press(*("G" if screen == 1 else ""))
        await wait_for(pilot, lambda: f"kd resume {ALPHA}" in text_of(app))
        option = shlex.join(["--ledger", str(ledger)])
        assert (f"kd resume {ALPHA} {option}" in text_of(app)) is not is_default


async def test_the_first_run_is_started_where_it_was_looked_for(tmp_path: Path) -> None:
    """Also where there is no ledger yet, or no run in it."""
    app = make_app(tmp_path / "none", is_default_ledger=False)
    async with app.run_test(size=(240, 30)) as pilot:
        await wait_for(pilot, lambda: f"--detach --ledger {tmp_path / 'none'}" in text_of(app))
        create_ledger(tmp_path / "none", origin="empty.invalid/tui", registry=REGISTRY).close()
        await wait_for(pilot, lambda: f"kd run CONFIG --ledger {tmp_path / 'none'}" in text_of(app))


@pytest.mark.parametrize("write", [False, True])
async def test_what_needs_leave_to_write_says_so(tmp_path: Path, write: bool) -> None:
    """A key that would be refused is not offered without a word."""
    write_waiting_run(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger", write=write)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: "W grants one" in text_of(app))
        assert ("W grants one (with --write)" in text_of(app)) is not write


@pytest.mark.parametrize(
    ("days", "words"), [(0, (r"the verdict is approved", r"verdict +approved")), (2, (r"the approval lapsed", r"verdict +lapsed"))]
)
async def test_a_lapsed_approval_is_called_lapsed(tmp_path: Path, days: int, words: tuple[str, str]) -> None:
    """Once the first of its waivers has ended, neither below the run's row nor among its figures is it called approved."""
    write_waived_run(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger", clock=FixedClock(NOW_MS + days * DAY_MS), run_id=RUN)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and re.search(words[0], text_of(app)))
        await pilot.press("2")
        await wait_for(pilot, lambda: re.search(words[1], text_of(app)))


async def test_a_lapsed_approval_is_cured_where_it_is_shown(tmp_path: Path) -> None:
    """It can be granted anew, and then waits to be judged again."""
    now_ms = NOW_MS + 2 * DAY_MS
    with write_waived_run(tmp_path / "ledger") as store:
        app = make_app(tmp_path / "ledger", clock=FixedClock(now_ms))
        async with app.run_test(size=(140, 40)) as pilot:
            await wait_for(pilot, lambda: "W grants a new one (with --write)" in text_of(app))
            again = waiver("speed", None, title="again", expires_ms=now_ms + DAY_MS, created_ms=now_ms)
            grant_waiver(store, RUN, again, actor="ana@host", now_ms=now_ms)
            await wait_for(pilot, lambda: "1 waiver waits for its answer" in text_of(app) and f"kd resume {RUN}" in text_of(app))


async def test_words_look_at_every_fact_that_the_filter_names(ledger: Path) -> None:
    """All of them must be there."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("/", *"interrupted stage:training verdict:none owner:")
        await wait_for(pilot, lambda: "1 of 3 runs" in text_of(app) and ALPHA in text_of(app))
