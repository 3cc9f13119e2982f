"""Driving the application in tests: waiting for what must come, and reading the screen as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from kd.events import REGISTRY
from ledger import open_ledger
from ledger.clock import Clock
from ledger.disk import Disk
from ledger.testing import FixedClock
from tests.views.examples import START_MS
from tui.app import KdApp
from tui.feed.feed import Feed
from tui.pictures import screen_text
from tui.settings import Settings

__all__ = ["ACTOR", "digest_of", "make_app", "text_of", "wait_for"]

ACTOR = "ana@host"
_PATIENCE_SECONDS = 20.0


def make_app(
    ledger: Path,
    *,
    write: bool = False,
    is_default_ledger: bool = True,
    clock: Clock | None = None,
    disk: Disk | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> KdApp:
    """The application on `ledger`, an hour after its first record."""
    open_store = partial(open_ledger, ledger, registry=REGISTRY, write=write, disk=disk)
    clock = FixedClock(START_MS + 3_600_000) if clock is None else clock
    feed = Feed(open_store, clock, ledger=ledger, settings=settings, actor=ACTOR, is_writable=write, is_default_ledger=is_default_ledger)
    return KdApp(feed, **options)


async def wait_for(pilot: Pilot[Any], is_so: Callable[[], object]) -> None:
    """Let the application work until `is_so`; AssertionError if it never is."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"it never came to be:\n{text_of(pilot.app)}"
        await pilot.pause(0.01)
    await pilot.pause()


def digest_of(folder: Path) -> str:
    """SHA-256 over names and bytes of all files below `folder`."""
    files = sorted(path for path in folder.rglob("*"))
    parts = [f"{path.relative_to(folder)} {sha256(path.read_bytes()).hexdigest() if path.is_file() else ''}" for path in files]
    return sha256("\n".join(parts).encode()).hexdigest()


def text_of(app: Any) -> str:
    """The characters on screen."""
    return screen_text(app)
