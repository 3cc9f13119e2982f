"""The Timeline screen: every way to move, playing, and what changed between two moments."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot

from kd.events import REGISTRY
from kd.views.timeline import Timeline
from ledger import open_ledger
from tests.tui.ledgers import ALPHA, BETA, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.app import KdApp
from tui.feed.fold import AllRuns, Summary
from tui.feed.keyframes import Keyframes
from tui.feed.origins import origins
from tui.messages import RecordChosen
from tui.screens.timeline import TimelineScreen
from tui.widgets.scrub_bar import ScrubBar
from tui.widgets.state_diff import StateDiff


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs in training, written once."""
    folder = tmp_path_factory.mktemp("timeline") / "ledger"
    make_ledger(folder).close()
    return folder


async def ready(pilot: Pilot[int], app: KdApp) -> TimelineScreen:
    """The screen with the whole run on it."""
    await wait_for(pilot, lambda: app.is_settled and app.feed.frame.whole is not None and len(app.feed.frame.whole.rows) > 5)
    return cast("TimelineScreen", app.screen)


def whole(app: KdApp) -> Timeline:
    """The time line up to the last record."""
    found = app.feed.frame.whole
    assert found is not None
    return found


async def go(pilot: Pilot[int], app: KdApp, key: str) -> int:
    """Where a key leads."""
    before = app.feed.frame.position
    await pilot.press(key)
    await wait_for(pilot, lambda: app.feed.frame.position != before)
    return app.feed.frame.position


async def test_records_and_markers_are_stepped_through_both_ways(ledger: Path) -> None:
    """`,` and `.` go by record, `{` and `}` by marker, each to where the other came from."""
    app = make_app(ledger, run_id=BETA, first_screen=3)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        end = app.feed.frame.position
        assert await go(pilot, app, ",") == end - 1
        assert await go(pilot, app, ".") == end
        markers = [marker.position for marker in whole(app).markers]
        back = []
        while True:
            back.append(await go(pilot, app, "{"))
            if back[-1] == markers[0]:
                break
        assert back == [position for position in reversed(markers) if position < end]
        assert await go(pilot, app, "}") == markers[1]


async def test_space_holds_the_view_and_plays_it(ledger: Path) -> None:
    """Live, space holds; held, it plays on to the end of the run and stops there."""
    app = make_app(ledger, run_id=ALPHA, first_screen=3)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await ready(pilot, app)
        await pilot.press("space")
        await wait_for(pilot, lambda: not app.feed.frame.is_live)
        assert "VIEW HELD" in text_of(app)
        await pilot.press("home")
        await wait_for(pilot, lambda: app.feed.frame.position < 3)
        await pilot.press("+", "+", "+", "space")
        assert screen.is_playing
        last = int(whole(app).rows.last_keys()[0])
        await wait_for(pilot, lambda: app.feed.frame.position >= last and not screen.is_playing)


async def test_a_click_on_the_bar_goes_there(ledger: Path) -> None:
    """The left end is the run's first record, the right end its last."""
    app = make_app(ledger, run_id=ALPHA, first_screen=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app)
        rows = whole(app).rows
        await pilot.click(ScrubBar, offset=(78, 2))
        await wait_for(pilot, lambda: app.feed.frame.position == rows.key_at(len(rows) - 1, "position"))
        await pilot.click(ScrubBar, offset=(1, 2))
        await wait_for(pilot, lambda: app.feed.frame.position < 8)


async def test_two_pins_show_what_changed_and_who_set_it(ledger: Path) -> None:
    """`=` pins A and then B; the step's row names its last record, and o asks for it."""
    asked: list[int] = []
    app = make_app(ledger, run_id=BETA, first_screen=3, position=30)
    hook = lambda message: asked.append(message.position) if isinstance(message, RecordChosen) else None  # noqa: E731
    async with app.run_test(size=(120, 40), message_hook=hook) as pilot:
        screen = await ready(pilot, app)
        await pilot.press("=", "L")
        await wait_for(pilot, lambda: app.feed.frame.is_live)
        await pilot.press("=")
        changes = screen.query_one(StateDiff)
        await wait_for(pilot, lambda: screen.is_settled and len(changes.differences) > 2)
        rows = {row.path: row for row in changes.differences}
        assert (rows["run.state"].b, rows["run.cause"].b) == ("paused", "request")
        assert rows["run.state"].set_by == rows["run.cause"].set_by
        changes.focus()
        await wait_for(pilot, lambda: changes.lines.has_focus)
        changes.choose(list(rows).index("run.state"))
        await pilot.press("o")
        await wait_for(pilot, lambda: set(asked) == {rows["run.state"].set_by})


async def test_escape_takes_the_pins_away(ledger: Path) -> None:
    """Pins go with Escape, and the pane says how to set one."""
    app = make_app(ledger, run_id=BETA, first_screen=3)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await ready(pilot, app)
        await pilot.press("=")
        assert len(screen.pins) == 1
        await pilot.press("escape")
        await wait_for(pilot, lambda: not screen.pins and "= pins this moment as A" in text_of(app))


async def test_the_bar_shows_seq_time_and_step(ledger: Path) -> None:
    """x goes round the three axes, each named beneath the bar; a silence over a minute is one sign on the axis of time."""
    app = make_app(ledger, run_id=BETA, first_screen=3)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        for name in ("axis: time", "axis: step", "axis: seq"):
            await wait_for(pilot, lambda name=name: name in text_of(app))
            await pilot.press("x")


@pytest.mark.parametrize("every", [1, 3, 7, 1000])
def test_origins_do_not_depend_on_the_states_that_were_kept(ledger: Path, every: int) -> None:
    """Whatever states were kept, each value's record is the same."""
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        runs = AllRuns(Summary(cursor=store.end()))
        kept = Keyframes(Summary(cursor=next(iter(store.scan())).cursor), every=every)
        states = {}
        for record in store.scan():
            runs.extend([record])
            states[record.position + 1] = runs.summary()
            if kept.is_due(record.position + 1):
                kept.keep(record.position + 1, runs.summary())
        stop = store.end().position
        start = next(place for place, summary in states.items() if BETA in summary.runs)
        found = origins(store, kept.before, states[start].runs[BETA], start, states[stop].runs[BETA], stop)
        names = {position: record.name for position in set(found.values()) for record in store.scan(start=position, stop=position + 1)}
    assert names[found["run.state"]] == "run.paused"
    assert names[found["training.step"]] == "training.step_completed"
