"""The examination that `:fsck` begins: what it finds is shown, and it ends with its window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.ledgers import make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.screens.fsck_report import FsckReport

_SLOW = "import os, pathlib, sys, time; pathlib.Path({path!r}).write_text(str(os.getpid())); time.sleep(600)"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_it_finds_is_shown(tmp_path: Path) -> None:
    """A ledger that is whole gets a sentence that says so."""
    make_ledger(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger")
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("fsck")
        await wait_for(pilot, lambda: "Nothing was found that should not be so." in text_of(app))


@pytest.mark.parametrize("end", [lambda app: app.screen.dismiss(None), lambda app: app.exit(0)], ids=["closed", "left"])
async def test_it_ends_with_its_window(tmp_path: Path, end: Callable[[object], object]) -> None:
    """Nobody waits for an examination that nobody will read, be the window closed or the application left."""
    make_ledger(tmp_path / "ledger").close()
    pid = tmp_path / "pid"
    app = make_app(tmp_path / "ledger")
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        app.push_screen(FsckReport(tmp_path / "ledger", program=(sys.executable, "-c", _SLOW.format(path=str(pid)))))
        await wait_for(pilot, lambda: pid.exists() and pid.read_text())
        process = int(pid.read_text())
        end(app)
        await wait_for(pilot, lambda: not _is_alive(process))
