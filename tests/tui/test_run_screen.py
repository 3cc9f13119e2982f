"""The Run screen: stages, progress, charts, figures and alerts of one moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd.events import REGISTRY
from kd.training.events import StepCompleted, StepSkipped
from ledger import open_ledger
from tests.tui.ledgers import ALPHA, BETA, GAMMA, add_steps, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.app import KdApp
from tui.messages import RecordChosen
from tui.widgets.chart import Chart
from tui.widgets.metric_table import MetricTable


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs in training, written once."""
    folder = tmp_path_factory.mktemp("run") / "ledger"
    make_ledger(folder).close()
    return folder


def shown(app: KdApp) -> list[Chart]:
    """The charts in sight."""
    return [chart for chart in app.screen.query(Chart) if chart.display]


@pytest.mark.parametrize(("size", "num_charts"), [((120, 40), 8), ((80, 24), 5), ((160, 50), 8)])
async def test_charts_and_figures_fill_any_terminal(ledger: Path, size: tuple[int, int], num_charts: int) -> None:
    """As many charts as there is room for, beside the figures, with the stage strip above."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=size) as pilot:
        await wait_for(
            pilot,
            lambda: (
                app.is_settled
                and 5 <= len(shown(app)) <= num_charts
                and all(chart.size.width >= 16 and chart.size.height >= 7 for chart in shown(app))
            ),
        )
        text = text_of(app)
        assert all(word in text for word in ("loss", "validation", "KL", "spend", "gates", "12/24", "interrupted"))


async def test_a_run_whose_owner_died_says_how_to_go_on(ledger: Path) -> None:
    """The alert line names the rule, what happened and the command."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "kd resume" in text_of(app))
        assert "✗ interrupted nobody works on the run" in text_of(app)


async def test_enter_shows_a_figure_in_full(ledger: Path) -> None:
    """Enter opens the chosen figure with formula and record; what is absent says why."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and len(app.screen.query_one(MetricTable).state.figures) > 4)
        table = app.screen.query_one(MetricTable)
        labels = [figure.label for figure in table.state.figures]
        for _ in range(labels.index("spend")):
            await pilot.press("j")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "Teachers run on this machine" in text_of(app))


async def test_enter_shows_the_newest_point_of_a_chart_in_full(ledger: Path) -> None:
    """Unrounded, with its unit, its step and its record, which o opens; Enter takes it away."""
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(160, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and len(shown(app)) > 1)
        chart = shown(app)[0]
        chart.focus()
        last = chart.state.lines[0].series.last
        assert last is not None
        await pilot.press("enter")
        await wait_for(pilot, lambda: f"{last.value!r} nats at step {last.x:.0f} @{last.position}" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: f"{last.value!r} nats" not in text_of(app))


async def test_a_chart_can_have_the_whole_screen(ledger: Path) -> None:
    """z gives the focused chart all the room, and z or Escape gives it back."""
    app = make_app(ledger, run_id=BETA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and len(shown(app)) > 1)
        shown(app)[0].focus()
        await pilot.press("z")
        await wait_for(pilot, lambda: len(shown(app)) == 1 and shown(app)[0].size.width > 110)
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(shown(app)) > 1)


async def test_the_record_behind_a_point_is_one_key_away(ledger: Path) -> None:
    """o on a chart asks for the record of its newest point."""
    asked: list[int] = []
    app = make_app(ledger, run_id=GAMMA, first_screen=2)
    async with app.run_test(
        size=(120, 40), message_hook=lambda m: asked.append(m.position) if isinstance(m, RecordChosen) else None
    ) as pilot:
        await wait_for(pilot, lambda: app.feed.frame.curves is not None and len(shown(app)) > 1 and app.is_settled)
        await wait_for(pilot, lambda: not app.feed.frame.is_catching_up)
        app.screen.query_one(MetricTable).focus()
        await pilot.press("o")
        if not asked:  # the first figure may have no record
            await pilot.press("G")
        assert all(0 <= position <= app.feed.frame.position for position in asked)


async def test_a_skipped_step_is_a_cross_and_an_alert(tmp_path: Path) -> None:
    """A step whose loss was NaN is `✗1` in the loss chart's title, and an error in the alert line."""
    with make_ledger(tmp_path / "ledger") as store:
        event = StepSkipped(
            step=13, reason="loss is nan", batch_digest="b" * 64, loss_bits="7ff8000000000000", grad_norm_bits="7ff8000000000000"
        )
        store.append(f"run/{ALPHA}/training", [event])
    app = make_app(tmp_path / "ledger", run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "loss ✗1" in text_of(app))


async def test_without_a_run_the_screen_says_what_to_do(ledger: Path) -> None:
    """No run is open: the progress line says where to choose one."""
    app = make_app(ledger, first_screen=2)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "choose one on screen 1" in text_of(app))


async def test_held_charts_end_at_the_moment_held(ledger: Path) -> None:
    """Held at step 5, no chart has a later point and the progress says 5."""
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        events = ((record.position, record.event) for record in store.scan(streams=f"run/{ALPHA}/training"))
        position = next(place for place, event in events if isinstance(event, StepCompleted) and event.step == 5)
    app = make_app(ledger, run_id=ALPHA, position=position, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "5/24" in text_of(app))
        assert shown(app)[0].state.extent == (1, 5)


async def test_a_deep_zoom_draws_single_points(tmp_path: Path) -> None:
    """Where a series keeps only summaries of 64 points, the points of a small window are read from their records."""
    with make_ledger(tmp_path / "ledger") as store:
        add_steps(store, ALPHA, 13, 9_000, batch=500)
    app = make_app(tmp_path / "ledger", run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and len(shown(app)) > 1)
        chart = shown(app)[0]
        await wait_for(pilot, lambda: chart.state.extent == (1, 9_000))
        chart.look_at((8_700.0, 8_720.0))
        await wait_for(pilot, lambda: chart.state.lines[0].fine is not None)
        fine = chart.state.lines[0].fine
        assert fine is not None
        assert [bucket.first_x for bucket in fine.buckets(8_700, 8_720, 102)] == list(range(8_700, 8_721))
