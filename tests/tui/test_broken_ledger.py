"""What may happen to a ledger while it is looked at: one sentence tells it, every screen goes on, and nothing is written."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from kd.events import REGISTRY
from kd.run import events as ev
from kd.training.events import BatchesPlanned
from ledger import create_ledger, open_ledger
from ledger.registry import Entry, Registry
from ledger.testing import FixedClock
from tests.tui.judged_ledger import FIRST, write_judged_ledger
from tests.tui.ledgers import ALPHA, add_steps, make_ledger, open_run_rows
from tests.tui.pilots import digest_of, make_app, text_of, wait_for
from tests.tui.random_input import RandomInput
from tests.views.examples import START_MS
from tui.screens.blob_text import BlobText

_NUM_INPUTS = 40
_SCREENS = "12345678"
_NEGATIVE = re.compile(r"[-−]\d[\d.]* (s|min|h|d)\b")


def _segment(ledger: Path) -> Path:
    return ledger / "seg" / "00000000.jsonl"


def _remove(ledger: Path) -> None:
    shutil.rmtree(ledger)


def _cut(ledger: Path) -> None:
    os.truncate(_segment(ledger), _segment(ledger).stat().st_size // 2)


def _flip(ledger: Path) -> None:
    data = bytearray(_segment(ledger).read_bytes())
    data[len(data) // 2] ^= 4
    with _segment(ledger).open("r+b") as file:
        file.write(data)


def _swap(ledger: Path) -> None:
    make_ledger(ledger.parent / "other", num_steps=5).close()
    shutil.rmtree(ledger)
    (ledger.parent / "other").rename(ledger)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_remove, "is gone: what is shown was read before"),
        (_cut, "were read before. Restore it"),
        (_flip, "its chain hash does not fit its bytes"),
        (_swap, "Another ledger is in its place"),
    ],
)
async def test_a_ledger_that_is_harmed_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], said: str
) -> None:
    """The view stays at what was read; every screen still answers its keys, says why, and no byte is changed."""
    monkeypatch.chdir(tmp_path)
    ledger = tmp_path / "ledger"
    write_judged_ledger(ledger)
    app = make_app(ledger, run_id=FIRST, first_screen=3)
    async with app.run_test(size=(240, 24)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        harm(ledger)
        after = digest_of(ledger)
        await pilot.press(*"{{{")
        await app.run_command("at 60")
        await wait_for(pilot, lambda: said in text_of(app))
        await app.run_command("run latest")
        for screen in _SCREENS:
            await pilot.press(screen)
            assert said in text_of(app), f"not on screen {screen}"
        await RandomInput(app, pilot, seed=3).give(_NUM_INPUTS)
    assert digest_of(ledger) == after


async def test_a_ledger_that_comes_back_is_followed_again(tmp_path: Path) -> None:
    """A folder that was away, as a share may be, and is the same one again."""
    store = make_ledger(tmp_path / "ledger")
    app = make_app(tmp_path / "ledger")
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        (tmp_path / "ledger").rename(tmp_path / "away")
        await wait_for(pilot, lambda: "is gone" in text_of(app))
        (tmp_path / "away").rename(tmp_path / "ledger")
        await wait_for(pilot, lambda: "is gone" not in text_of(app))
        add_steps(store, ALPHA, 13, 15)
        store.close()
        await wait_for(pilot, lambda: "15/24" in text_of(app))


async def test_a_blob_that_is_missing_is_named(tmp_path: Path) -> None:
    """The window over the Ledger screen says which, and where to look."""
    make_ledger(tmp_path / "ledger").close()
    shutil.rmtree(tmp_path / "ledger" / "blobs" / "sha256")
    app = make_app(tmp_path / "ledger", first_screen=4)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        with open_ledger(tmp_path / "ledger", registry=REGISTRY, write=False) as store:
            planned = next(store.scan(names="training.batches_planned")).event
        assert isinstance(planned, BatchesPlanned)
        app.push_screen(BlobText(app.feed, planned.plan))
        await wait_for(pilot, lambda: "kd ledger fsck" in text_of(app) and "unreadable" in text_of(app))
        await pilot.press("G", "G", "escape", "escape")


@frozen(kw_only=True)
class _Invented:
    """An event of a kd that is not written yet."""

    words: str


async def test_an_event_of_a_newer_kd_is_shown_raw(tmp_path: Path) -> None:
    """Its run says that it needs a newer kd; everything around it goes on."""
    newer = Registry((*REGISTRY.entries, Entry(name="training.invented", cls=_Invented)))
    with create_ledger(tmp_path / "ledger", origin="newer.invalid/tui", registry=newer, clock=FixedClock(START_MS)) as store:
        for stream, event, _ in open_run_rows(ALPHA, store.blobs.put_bytes(b"weights"), 0):
            store.append(stream, [event])
        store.append(f"run/{ALPHA}/training", [_Invented(words="from tomorrow")])
        add_steps(store, ALPHA, 1, 3)
    app = make_app(tmp_path / "ledger", run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "needs a newer kd" in text_of(app))
        assert "3/24 step" in text_of(app)
        await pilot.press("4", "G", "k", "k", "k")
        await wait_for(pilot, lambda: "training.invented" in text_of(app) and "from tomorrow" in text_of(app))


async def test_a_garbled_index_is_no_concern_of_the_viewer(tmp_path: Path) -> None:
    """The answers are the same, and without --write the index stays as it is."""
    make_ledger(tmp_path / "ledger").close()
    (tmp_path / "ledger" / "index.sqlite").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 16)
    before = digest_of(tmp_path / "ledger")
    app = make_app(tmp_path / "ledger", run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "12/24 step" in text_of(app))
        assert app.failure is None
    assert digest_of(tmp_path / "ledger") == before


async def test_a_clock_that_is_set_back_makes_no_age_negative(tmp_path: Path) -> None:
    """The view goes on, and new records come as before."""
    clock = FixedClock(START_MS + 3_600_000)
    with make_ledger(tmp_path / "ledger") as store:
        app = make_app(tmp_path / "ledger", clock=clock, run_id=ALPHA, first_screen=1)
        async with app.run_test(size=(140, 40)) as pilot:
            await wait_for(pilot, lambda: app.is_settled)
            clock.time_ms -= 24 * 3_600_000
            add_steps(store, ALPHA, 13, 14)
            await wait_for(pilot, lambda: "14/24" in text_of(app))
            for screen in "1234":
                await pilot.press(screen)
                await wait_for(pilot, lambda: app.is_settled)
                assert not _NEGATIVE.search(text_of(app)), text_of(app)


@pytest.mark.parametrize("num_words", [700, 7_000])
async def test_a_long_payload_is_shown_and_scrolled(tmp_path: Path, num_words: int) -> None:
    """6 KB lie in the line and 60 KB in a blob: both are cut where they are a line, and whole where they are read."""
    words = " ".join(f"word{number}" for number in range(num_words))
    with make_ledger(tmp_path / "ledger") as store:
        store.append(f"run/{ALPHA}", [ev.PauseRequested(reason=words)])
    app = make_app(tmp_path / "ledger", run_id=ALPHA, first_screen=4)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "run.pause_requested/1" in text_of(app))
        await pilot.press("enter")
        if num_words == 7_000:
            await pilot.press(*"jjjjjjjj", "enter")
            await wait_for(pilot, lambda: isinstance(app.screen, BlobText) and "digest right" in text_of(app))
            await pilot.press("G", "g", "escape")
        else:
            await wait_for(pilot, lambda: "word11 " in text_of(app))
            await pilot.press("G")
            await wait_for(pilot, lambda: f"word{num_words - 1}" in text_of(app))
        for screen in "123":
            await pilot.press(screen)
            await wait_for(pilot, lambda: app.is_settled)
