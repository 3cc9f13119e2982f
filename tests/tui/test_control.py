"""Control: what is shown is what is appended, once, with its actor and reason, and the owner's answer is told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

import kd
from kd.events import REGISTRY
from kd.run import commands
from kd.run.config_file import load_run_config
from kd.run.events import CancelRequested, ResumeRequested
from kd.run.owned_run import OwnedRun
from kd.run.steering import Steering
from ledger import claim, open_ledger
from ledger.record import Meta, Record
from ledger.testing import FixedClock
from tests.tui.ledgers import ALPHA, GAMMA, make_ledger
from tests.tui.pilots import ACTOR, make_app, text_of, wait_for
from tui.app import KdApp
from tui.feed.actions import Actions, Outcome
from tui.feed.wishes import Request, ResumeRequest
from tui.screens.control import LaunchDialog, RequestDialog
from tui.screens.runs import RunsScreen
from tui.widgets.dialog_parts import Choice, Lines

_NEW_OWNER = """
import sys
from kd.events import REGISTRY
from kd.run import commands
from kd.run.machine import RUN
from ledger import claim, open_ledger
from ledger.handle import Live
with open_ledger(sys.argv[1], registry=REGISTRY) as store, claim(store, sys.argv[2], "owner@host") as ownership:
    Live(store, f"run/{sys.argv[2]}", RUN, guards=(ownership.guard,)).handle(commands.StartRun())
"""
"""A process that takes up a run and leaves it at once."""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs that nobody owns."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


@contextmanager
def owner(ledger: Path, run: str) -> Iterator[None]:
    """Someone who owns `run` and answers requests until the block ends."""
    is_over = threading.Event()
    with open_ledger(ledger, registry=REGISTRY) as store, claim(store, run, "owner@host") as ownership:
        live = OwnedRun(store, run, (ownership.guard,))
        live.handle(commands.StartRun())
        steering = Steering(live, lambda: False)

        def answer() -> None:
            while not is_over.wait(0.02):
                steering.wish()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _records(ledger: Path, name: str) -> list[Record]:
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        return list(store.scan(names=name))


async def _ask(app: KdApp, pilot: Pilot[int], key: str, run: str) -> RequestDialog:
    await wait_for(pilot, lambda: app.is_settled and run in app.feed.frame.runs)
    app.feed.open_run(run)
    await wait_for(pilot, lambda: app.feed.frame.run == run)
    await pilot.press("2" if app._kd_screens.get(2) else "4", key)
    await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog))
    dialog = app.screen
    assert isinstance(dialog, RequestDialog)
    return dialog


async def test_a_pause_is_previewed_appended_and_accepted(ledger: Path) -> None:
    """The record has the previewed type, actor, cause and payload; the answer's position and delay are told."""
    with owner(ledger, ALPHA):
        app = make_app(ledger, write=True)
        async with app.run_test(size=(140, 40)) as pilot:
            dialog = await _ask(app, pilot, "P", ALPHA)
            assert dialog.query_one("#do", Button).disabled
            await pilot.press(*"odd loss")
            await wait_for(pilot, lambda: "run.pause_requested/1" in text_of(app) and ACTOR in text_of(app))
            seen = app.feed.frame.position
            dialog.query_one("#do", Button).press()
            await wait_for(pilot, lambda: "ACCEPTED after" in text_of(app))
            await pilot.press("escape")
            await wait_for(pilot, lambda: "ACCEPTED" in text_of(app).splitlines()[0])
    (asked,) = [record for record in _records(ledger, "run.pause_requested") if record.stream == f"run/{ALPHA}"]
    assert (asked.meta.actor, asked.meta.cause) == (ACTOR, seen)
    assert json.loads(asked.line)["e"] == {"is_now": False, "reason": "odd loss"}
    assert asked.key is not None
    assert asked.key.startswith("tui:")


async def test_a_preview_is_what_is_appended_and_shows_no_secret(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret among the words is taken out before they are shown, and the record says the same as the preview did."""
    monkeypatch.setenv("MY_API_TOKEN", "hunter-2-hunter-2")
    with owner(ledger, ALPHA):
        app = make_app(ledger, write=True, run_id=ALPHA, first_screen=2)
        async with app.run_test(size=(140, 40)) as pilot:
            dialog = await _ask(app, pilot, "P", ALPHA)
            dialog.query_one("#reason", Input).value = "see hunter-2-hunter-2"
            await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
            preview = "".join(text for text, _ in dialog.query_one("#preview", Lines).pieces)
            dialog.query_one("#do", Button).press()
            await wait_for(pilot, lambda: "ACCEPTED" in text_of(app))
    (asked,) = [record for record in _records(ledger, "run.pause_requested") if record.stream == f"run/{ALPHA}"]
    assert "see [redacted:MY_API_TOKEN]" in preview
    assert preview.partition(',"y":')[2] == asked.line.decode().partition(',"y":')[2].removesuffix("}")


async def test_a_cancel_wants_the_run_s_name(ledger: Path) -> None:
    """Without the whole id nothing can be appended; a run that nobody owns is cancelled at once."""
    app = make_app(ledger, write=True)
    async with app.run_test(size=(140, 40)) as pilot:
        dialog = await _ask(app, pilot, "X", ALPHA)
        dialog.query_one("#reason", Input).value = "enough"
        await wait_for(pilot, lambda: "the run's name is needed" in text_of(app))
        assert dialog.query_one("#do", Button).disabled
        dialog.query_one("#name", Input).value = ALPHA
        dialog.query_one(Choice).action_change()
        await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: "ACCEPTED" in text_of(app))
    assert len(_records(ledger, "run.cancelled")) == 1


async def test_what_cannot_be_asked_is_told_in_the_command_s_own_words(ledger: Path) -> None:
    """Pausing a run that nobody works on appends nothing, and says how to go on."""
    app = make_app(ledger, write=True)
    async with app.run_test(size=(140, 40)) as pilot:
        end = len(_records(ledger, "*"))
        dialog = await _ask(app, pilot, "P", ALPHA)
        dialog.query_one("#reason", Input).value = "lunch"
        await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: f"kd resume {ALPHA}" in text_of(app) and "nobody works on it" in text_of(app))
        assert len(_records(ledger, "*")) == end


async def test_a_run_at_its_end_cannot_be_resumed(ledger: Path) -> None:
    """Nothing is recorded and nothing started, for the reason that `kd resume` would give."""
    app = make_app(ledger, write=True)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.chosen_run == GAMMA
        await pilot.press("R")
        await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog))
        app.screen.query_one("#reason", Input).value = "back"
        await wait_for(pilot, lambda: "run.resume_requested/1" in text_of(app) and "-m kd resume" in text_of(app))
        app.screen.query_one("#do", Button).press()
        await wait_for(pilot, lambda: "another try cannot help" in text_of(app))
    assert _records(ledger, "run.resume_requested") == []


@pytest.mark.parametrize(("works", "words"), [(True, "RESUMED after"), (False, "no such file")])
def test_a_resume_is_recorded_and_then_started(ledger: Path, works: bool, words: str) -> None:
    """The reason stands before the claim; the owner's start is the answer, and a process that fails is told in its own words."""
    command = (sys.executable, "-c", _NEW_OWNER if works else "raise SystemExit('no such file')", str(ledger), ALPHA)
    is_over = threading.Event()
    with open_ledger(ledger, registry=REGISTRY) as store:
        actions = Actions(store, FixedClock(), lambda message: is_over.set() if isinstance(actions.state(0), Outcome) else None)
        actions.send(ResumeRequest(run=ALPHA, reason="back", actor=ACTOR, seen=5, key="tui:1", command=command))
        assert is_over.wait(20)
        state = actions.state(0)
        (asked,) = store.scan(names="run.resume_requested")
        claims = [record.position for record in store.scan(start=asked.position, names="ledger.owner_claimed")]
        actions.close()
    assert isinstance(state, Outcome)
    assert state.is_good == works
    assert state.sentence.startswith(f"appended @{asked.position:,}; ")
    assert words in state.sentence
    assert len(claims) == works
    assert (asked.event, asked.meta) == (ResumeRequested(reason="back"), Meta(actor=ACTOR, cause=5))


async def test_mistakes_in_a_configuration_are_listed_as_kd_lists_them(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line each, without secrets; the header says the first one."""
    monkeypatch.setenv("MY_API_TOKEN", "hunter-2-hunter-2")
    (tmp_path / "bad.yaml").write_text("hunter-2-hunter-2: 1\ntraining: {steps: -1}\n")
    app = make_app(ledger, write=True)
    async with app.run_test(size=(200, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command(f"start {tmp_path / 'bad.yaml'}")
        await wait_for(pilot, lambda: isinstance(app.screen, LaunchDialog) and app.screen.focused is not None)
        await pilot.press("enter")
        answer = app.screen.query_one("#answer", Lines)
        await wait_for(pilot, lambda: len(answer.pieces) > 1)
        *mistakes, last = [text for text, _ in answer.pieces if text != "\n"]
        assert len(mistakes) > 2
        assert all(mistake.startswith(str(tmp_path)) for mistake in mistakes)
        assert last == f"{len(mistakes)} mistakes in the configuration; nothing was started."
        assert "hunter" not in text_of(app)
        await wait_for(pilot, lambda: "[redacted:MY_API_TOKEN]" in text_of(app))
        await pilot.press("pagedown")
        await wait_for(pilot, lambda: "nothing was started" in text_of(app))
        await pilot.press("escape")
        await wait_for(pilot, lambda: "bad.yaml:1:" in text_of(app).splitlines()[0])


async def test_without_write_no_dialog_opens(ledger: Path) -> None:
    """Keys that steer say what is missing."""
    app = make_app(ledger)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("P")
        await wait_for(pilot, lambda: "--write" in text_of(app))
        assert app.feed.actions is None


async def test_in_the_past_nothing_is_asked(ledger: Path) -> None:
    """A held view steers nothing; the way to the present is named."""
    app = make_app(ledger, write=True)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("at 20")
        await wait_for(pilot, lambda: not app.feed.frame.is_live)
        await pilot.press("P")
        await wait_for(pilot, lambda: "You are looking at @20: L for live." in text_of(app))


def test_a_key_makes_two_presses_one_record(ledger: Path) -> None:
    """The same request sent again is the request that is there."""
    request = Request(kind="cancel", run=ALPHA, reason="enough", is_now=False, actor=ACTOR, seen=5, key="tui:1")
    with open_ledger(ledger, registry=REGISTRY) as store:
        first = store.append(f"run/{ALPHA}", [request.event()], key=request.key)
        again = store.append(f"run/{ALPHA}", [request.event()], key=request.key)
    assert again.is_duplicate
    assert again.first == first.first


def test_a_reason_keeps_the_rules_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run's own configuration calls a secret is not recorded, though the application was opened without it."""
    config = load_run_config(Path("configs/tiny.yaml"), overrides=("redaction.env=[MY_TEACHER]",))
    monkeypatch.setenv("MY_TEACHER", "a teacher's own 7")
    is_told = threading.Event()
    opened = kd.open(tmp_path / "ledger", create=True)
    run = opened.plan(config).id
    opened.store.close()
    with open_ledger(tmp_path / "ledger", registry=REGISTRY) as store:
        actions = Actions(store, FixedClock(), lambda message: is_told.set())
        actions.send(Request(kind="cancel", run=run, reason="a teacher's own 7", is_now=False, actor=ACTOR, seen=5, key="tui:1"))
        assert is_told.wait(10)
        (asked,) = store.scan(names="run.cancel_requested")
        assert asked.event == CancelRequested(reason="[redacted:MY_TEACHER]", is_now=False)
        assert store.redactor is None
