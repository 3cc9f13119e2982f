"""Screens 5 to 8 say what the records of a run say, wherever the view is held, and never obey a text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kd.events import REGISTRY
from ledger import open_ledger
from ledger.events import LEDGER_STREAM, BlobReleased
from tests.tui.judged_ledger import FIRST, SECOND, write_judged_ledger
from tests.tui.pilots import make_app, wait_for
from tui.app import KdApp
from tui.pictures import screen_text
from tui.settings import Settings

DATA, EVALUATION, GOVERNANCE, COMPARE = 5, 6, 7, 8


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger, written once and only read."""
    path = tmp_path_factory.mktemp("judged") / "ledger"
    write_judged_ledger(path)
    return path


@asynccontextmanager
async def screen(
    ledger: Path, number: int, *, run: str | None = SECOND, at: int | None = None, size: tuple[int, int] = (120, 40), content: bool = True
) -> AsyncIterator[tuple[KdApp, Pilot[int]]]:
    """The application at one screen, with all that it wants read and drawn."""
    app = make_app(ledger, settings=Settings(content=content), run_id=run, position=at, first_screen=number)
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert app.failure is None
        yield app, pilot


async def test_the_verdict_stands_above_its_gates(judged: Path) -> None:
    """Governance shows the verdict, each gate with value, bar, n and a word for how it ended, and what is violated."""
    async with screen(judged, GOVERNANCE) as (app, _):
        text = screen_text(app)
    assert "WAIVER REQUIRED" in text
    assert "1 ✓ pass  1 ✗ fail  1 ? inconclusive" in text
    assert any("tools.right" in line and "0.75" in line and "≥ 0.9" in line and "✗ fail" in line for line in text.splitlines())
    assert any("tools.many" in line and "? inconclusive" in line for line in text.splitlines())
    assert "may be waived" in text


async def test_evidence_of_a_gate_is_one_key_away(judged: Path) -> None:
    """Enter goes to the records that the chosen gate rests on, and Enter there opens the record."""
    async with screen(judged, GOVERNANCE) as (app, pilot):
        await pilot.press("down", "enter", "down", "enter")
        await wait_for(pilot, lambda: "stored bytes" in screen_text(app))
        text = screen_text(app)
    assert "evaluation.measurement_recorded/1" in text
    assert "metric      right_call" in text


async def test_a_verdict_is_not_there_before_its_record(judged: Path) -> None:
    """Held before the judgement, the screen says so in words instead of showing what came later."""
    async with screen(judged, GOVERNANCE, run=FIRST, at=10) as (app, _):
        text = screen_text(app)
    assert "no verdict yet" in text
    assert "VIEW HELD" in text
    assert "WAIVER" not in text


async def test_measurements_stand_with_intervals_and_gates(judged: Path) -> None:
    """Evaluation lists each recorded measurement with interval, n and the gate that rests on it."""
    async with screen(judged, EVALUATION) as (app, _):
        text = screen_text(app)
    assert "8 of 8 answers" in text
    assert any("right_call" in line and "constrained" in line and "0.75" in line and "✗ ≥ 0.9" in line for line in text.splitlines())


async def test_items_flip_between_arms(judged: Path) -> None:
    """The items of a measurement are held against another arm, flips both ways, with both answers beside each other."""
    async with screen(judged, EVALUATION) as (app, pilot):
        await pilot.press("G")
        await wait_for(pilot, lambda: app.is_settled and "flips free to constrained" in screen_text(app))
        text = screen_text(app)
    assert "2 ✓ better  0 ✗ worse  2 same" in text
    assert "FREE" in text
    assert "CONSTRAINED" in text
    assert "What is the weather in" in text


async def test_a_baseline_is_compared_item_by_item(judged: Path) -> None:
    """`b` takes another run as baseline: equal items under equal settings can be compared, and flips go both ways."""
    async with screen(judged, EVALUATION) as (app, pilot):
        await pilot.press("G", "b")
        await wait_for(pilot, lambda: app.is_settled and "flips baseline to this run" in screen_text(app))
        text = screen_text(app)
    assert f"baseline {FIRST}" in text
    assert "comparable" in text
    assert "1 ✓ better  1 ✗ worse  2 same" in text


async def test_samples_say_how_they_were_decided(judged: Path) -> None:
    """Data tells the teacher's words from corrected and known calls, and names why a request became no sample."""
    async with screen(judged, DATA) as (app, _):
        text = screen_text(app)
    rows = [line.split("│")[0] for line in text.splitlines()]
    assert sum("✓ teacher" in row for row in rows) == 1
    assert sum("✓ corrected" in row for row in rows) == 1
    assert sum("✓ known" in row for row in rows) == 2
    assert sum("✗ malformed" in row for row in rows) == 1
    assert "rejected malformed 1" in text


async def test_rows_are_filtered_by_words(judged: Path) -> None:
    """After `/` only rows that hold every word are listed; Escape brings all of them back."""
    async with screen(judged, DATA) as (app, pilot):
        await pilot.press("/", *"corrected")
        await wait_for(pilot, lambda: "✓ known" not in screen_text(app))
        assert "✓ corrected" in screen_text(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: "✓ known" in screen_text(app))


async def test_foreign_text_is_shown_not_obeyed(judged: Path) -> None:
    """Escapes and direction marks in prompts, replies and answers are drawn as signs."""
    for number in (DATA, EVALUATION, GOVERNANCE):
        async with screen(judged, number) as (app, _):
            text = screen_text(app)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert number == GOVERNANCE or "␛[31mred" in text


async def test_texts_can_be_hidden(judged: Path) -> None:
    """Without content neither prompts nor replies are drawn; what was decided and measured still is."""
    for number in (DATA, EVALUATION):
        async with screen(judged, number, content=False) as (app, _):
            text = screen_text(app)
        assert "texts are hidden" in text
        assert "What is the weather" not in text
        assert "red" not in text.replace("rejected", "").replace("answered", "").replace("required", "")


async def test_marked_runs_stand_beside_each_other(judged: Path) -> None:
    """Compare draws a line for each marked run, and lists only the keys of the configs that differ until `a` asks for all."""
    async with screen(judged, COMPARE) as (app, pilot):
        for run in (FIRST, SECOND):
            app.feed.toggle_mark(run)
        app.screen.redraw()  # type: ignore[attr-defined]
        await wait_for(pilot, lambda: app.is_settled and "training.steps" in screen_text(app))
        text = screen_text(app)
        assert "1 of" in text
        assert "keys differ" in text
        assert any("training.steps" in line and "10" in line and "20" in line for line in text.splitlines())
        assert "training.seed" not in text
        await pilot.press("d")
        await wait_for(pilot, lambda: "may be compared" in screen_text(app))
        assert any("right_call" in line and "✓ yes" in line for line in screen_text(app).splitlines())


async def test_a_run_is_taken_out_of_the_comparison(judged: Path) -> None:
    """`r` takes the chosen run's mark away."""
    async with screen(judged, COMPARE, run=None) as (app, pilot):
        for run in (FIRST, SECOND):
            app.feed.toggle_mark(run)
        app.screen.redraw()  # type: ignore[attr-defined]
        await wait_for(pilot, lambda: "2 runs" in screen_text(app))
        await pilot.press("r")
        await wait_for(pilot, lambda: "1 run" in screen_text(app))
        assert app.feed.marked == (SECOND,)


@pytest.mark.parametrize("number", [DATA, EVALUATION, GOVERNANCE, COMPARE])
@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_no_screen_needs_a_run_or_a_size(judged: Path, number: int, size: tuple[int, int]) -> None:
    """Without a run each screen says so in words; at 80 by 24 as well as wide, every line fits."""
    async with screen(judged, number, run=None, size=size) as (app, _):
        text = screen_text(app)
    assert "no run" in text
    assert max(len(line) for line in text.splitlines()) <= size[0]


async def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    """Where blobs are gone the lists still show what the records say; one that was released says so, by whom and why."""
    path = tmp_path / "ledger"
    write_judged_ledger(path)
    for blob in (path / "blobs" / "sha256").glob("*/*"):
        blob.unlink()
    async with screen(path, DATA) as (app, _):
        text = screen_text(app)
    assert "? Prague" in text
    assert "is missing; kd ledger fsck" in text
    with open_ledger(path, registry=REGISTRY) as store:
        built = next(store.scan(streams=f"run/{SECOND}/generation", names="generation.samples_built"))
        digest = built.event.samples.sha256  # type: ignore[attr-defined]
        store.append(LEDGER_STREAM, [BlobReleased(sha256=digest, num_bytes=1, reason="erasure", actor="ana")])
    async with screen(path, DATA) as (app, _):
        assert "was released at @99 by ana for erasure" in screen_text(app)
