"""What may happen to a request: the dialog shows the error's own sentence, keeps what was typed, and tries nothing again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

import tui.feed.actions as actions_module
from kd.events import REGISTRY
from kd.run import states
from kd.run.events import CancelRequested, PauseRejected, PauseRequested, RunStarted
from ledger import open_ledger
from ledger.clock import SystemClock
from ledger.disk import Disk
from ledger.record import Meta
from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import digest_of, make_app, text_of, wait_for
from tests.tui.test_control import owner
from tui.app import KdApp
from tui.feed.actions import Actions, Outcome, read_answer
from tui.feed.wishes import Request
from tui.screens.control import ControlDialog, RequestDialog

_OWNER = """
import sys, time
from kd.events import REGISTRY
from kd.run import commands
from kd.run.owned_run import OwnedRun
from kd.run.steering import Steering
from ledger import claim, open_ledger
with open_ledger(sys.argv[1], registry=REGISTRY) as store, claim(store, sys.argv[2], "owner@host") as ownership:
    live = OwnedRun(store, sys.argv[2], (ownership.guard,))
    live.handle(commands.StartRun())
    steering = Steering(live, lambda: False)
    print("owned", flush=True)
    while True:
        steering.wish()
        time.sleep(0.02)
"""
"""A process that owns a run and answers requests."""


class _FailingDisk(Disk):
    """A disk that has no room, or whose syncs fail, from some moment on."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_sync_broken = False
        self.num_writes = 0

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        self.num_writes += 1
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        if self.is_sync_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs that nobody owns."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


@contextmanager
def owner_process(ledger: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that owns alpha."""
    command = [sys.executable, "-c", _OWNER, str(ledger), ALPHA]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "owned\n"
            yield process
        finally:
            process.kill()


async def _cancel(app: KdApp, pilot: Pilot[int], reason: str = "enough") -> RequestDialog:
    """The dialog that cancels alpha, filled in, with its button pressed."""
    await wait_for(pilot, lambda: app.is_settled and app.feed.frame.run == ALPHA)
    await pilot.press("X")
    await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog))
    dialog = app.screen
    assert isinstance(dialog, RequestDialog)
    dialog.query_one("#reason", Input).value = reason
    dialog.query_one("#name", Input).value = ALPHA
    await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
    dialog.query_one("#do", Button).press()
    return dialog


async def test_a_full_disk_is_told_and_nothing_is_written(ledger: Path) -> None:
    """The sentence is the ledger's own; the reason stays, and an Enter too many is no second try."""
    disk = _FailingDisk()
    app = make_app(ledger, write=True, disk=disk, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        disk.is_full, before = True, digest_of(ledger / "seg")
        dialog = await _cancel(app, pilot)
        await wait_for(pilot, lambda: "there is no space left" in text_of(app))
        num_writes = disk.num_writes
        assert dialog.query_one("#reason", Input).value == "enough"
        await pilot.press("enter", "escape")
        await wait_for(pilot, lambda: "A batch of 1 record" in text_of(app).splitlines()[0])
        assert (digest_of(ledger / "seg"), disk.num_writes) == (before, num_writes)
        disk.is_full = False


async def test_what_was_not_appended_can_be_mended_and_sent_again(ledger: Path) -> None:
    """The fields take keys again, and the second try is one record under the same key."""
    disk = _FailingDisk()
    app = make_app(ledger, write=True, disk=disk, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        disk.is_full = True
        dialog = await _cancel(app, pilot)
        await wait_for(pilot, lambda: "there is no space left" in text_of(app))
        disk.is_full = False
        assert not dialog.query_one("#reason", Input).disabled
        dialog.query_one("#reason", Input).value = "enough of it"
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: "ACCEPTED after" in text_of(app))
        assert dialog.query_one("#reason", Input).disabled
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        (asked,) = store.scan(names="run.cancel_requested")
    assert asked.event == CancelRequested(reason="enough of it", is_now=False)


async def test_a_ledger_that_is_poisoned_takes_no_request(ledger: Path) -> None:
    """After a failed sync every request is refused in words, and no byte is added."""
    disk = _FailingDisk()
    app = make_app(ledger, write=True, disk=disk, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        disk.is_sync_broken = True
        await _cancel(app, pilot, "first")
        await wait_for(pilot, lambda: "could not be" in text_of(app) or "sync" in text_of(app))
        await pilot.press("escape")
        before = digest_of(ledger / "seg")
        dialog = await _cancel(app, pilot, "second")
        await wait_for(pilot, lambda: "sync" in text_of(app))
        assert dialog.query_one("#reason", Input).value == "second"
        assert digest_of(ledger / "seg") == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_owner_that_is_killed_or_stopped_under_a_request(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """One that is stopped is still the owner, and its answer is told when it goes on; one that was killed leaves an interrupted run."""
    monkeypatch.setattr(actions_module, "_ANSWER_SECONDS", 0.5)
    with owner_process(ledger) as process:
        app = make_app(ledger, write=True, clock=SystemClock(), run_id=ALPHA, first_screen=2)
        async with app.run_test(size=(140, 40)) as pilot:
            await wait_for(pilot, lambda: app.is_settled and ALPHA in app.feed.frame.owned)
            process.send_signal(number)
            if number == signal.SIGKILL:
                process.wait(10)
                await wait_for(pilot, lambda: "interrupted" in text_of(app))
                return
            await pilot.press(*"Pquiet")
            await wait_for(pilot, lambda: isinstance(app.screen, RequestDialog) and not app.screen.query_one("#do", Button).disabled)
            app.screen.query_one("#do", Button).press()
            await wait_for(pilot, lambda: "nobody has answered" in text_of(app) and "appended @" in text_of(app))
            process.send_signal(signal.SIGCONT)
            await wait_for(pilot, lambda: isinstance(app.feed.frame.runs[ALPHA].run, states.Pausing) and "ACCEPTED after" in text_of(app))


@pytest.mark.parametrize("key", "PRXW")
async def test_a_broken_run_is_asked_for_nothing(ledger: Path, key: str) -> None:
    """Its records cannot be read on, so the keys name the command that looks at them, and no dialog opens."""
    with open_ledger(ledger, registry=REGISTRY) as store:
        store.append("run/odd", [RunStarted()])
    app = make_app(ledger, write=True, run_id="odd", first_screen=2)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled and app.feed.frame.run == "odd")
        await pilot.press(key)
        await wait_for(pilot, lambda: "kd audit odd" in text_of(app))
        assert not isinstance(app.screen, ControlDialog)


def test_a_request_that_fails_unforeseen_is_told(ledger: Path) -> None:
    """Whoever asks hears the end of it, whatever the error."""
    is_told = threading.Event()
    with open_ledger(ledger, registry=REGISTRY) as store:
        store.append("run/odd", [RunStarted()])
        actions = Actions(store, SystemClock(), lambda message: is_told.set())
        number = actions.send(Request(kind="pause", run="odd", reason="quiet", is_now=False, actor="ana", seen=5, key="tui:1"))
        assert is_told.wait(10)
        state = actions.state(number)
        assert isinstance(state, Outcome)
        assert not state.is_good
        assert "kd audit odd" in state.sentence


def test_an_answer_is_that_of_the_request_it_names(ledger: Path) -> None:
    """What another request is told is not taken for one's own; an owner of before, who names none, is understood."""
    with open_ledger(ledger, registry=REGISTRY) as store:
        store.append(f"run/{ALPHA}", [PauseRequested(reason="quiet")], key="tui:1", meta=Meta(actor="ana", cause=3))
        own = store.end().position - 1
        for cause in (own - 1, own + 7, own, None):
            store.append(f"run/{ALPHA}", [PauseRejected(reason="too late")], meta=Meta(cause=cause))
        request, *answers = store.scan(start=own)
    outcomes = [read_answer(request, answer) for answer in answers]
    assert [outcome is not None for outcome in outcomes] == [False, False, True, True]
    assert outcomes[2] == Outcome(is_good=False, sentence="REJECTED: too late", position=own + 3)


async def test_two_dialogs_at_once_get_an_answer_each(ledger: Path) -> None:
    """Two people ask for a pause of the same run: the owner decides in order, and each sees what became of their own."""
    with owner(ledger, ALPHA):
        one, other = (make_app(ledger, write=True, run_id=ALPHA, first_screen=2) for _ in range(2))
        async with one.run_test(size=(140, 40)) as first, other.run_test(size=(140, 40)) as second:
            for app, pilot in ((one, first), (other, second)):
                await wait_for(pilot, lambda app=app: app.is_settled and ALPHA in app.feed.frame.owned)
                await pilot.press(*"Pquiet")
                await wait_for(pilot, _can_append(app))
            for app in (one, other):
                app.screen.query_one("#do", Button).press()
            for app, pilot in ((one, first), (other, second)):
                await wait_for(pilot, lambda app=app: any(words in text_of(app) for words in ("ACCEPTED", "is already asked to stop")))
            assert any("ACCEPTED" in text_of(app) for app in (one, other))
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        assert len(list(store.scan(streams=f"run/{ALPHA}", names="run.pause_accepted"))) == 1


def _can_append(app: KdApp) -> Callable[[], bool]:
    return lambda: isinstance(app.screen, RequestDialog) and not app.screen.query_one("#do", Button).disabled
