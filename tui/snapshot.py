"""A screen as a file: the same bytes for the same ledger, size, theme and version, and no terminal needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tui.app import KdApp
from tui.pictures import screen_svg, screen_text

__all__ = ["SUFFIXES", "SnapshotError", "write_snapshot"]

SUFFIXES = (".svg", ".txt")
"""Of what can be drawn."""
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_EQUAL_LOOKS, _MOST_LOOKS = 3, 50


class SnapshotError(Exception):
    """The ledger is damaged, or could not be read."""


def write_snapshot(app: KdApp, out: Path, size: tuple[int, int]) -> None:
    """Draw the application's first screen into `out`, SVG or text by its suffix, which is one of SUFFIXES. SnapshotError at damage."""
    failure: list[str] = []

    async def draw(pilot: Pilot[Any]) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not app.is_settled and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
        is_settled = app.is_settled  # of a run that goes on, more may come while this is drawn
        picture = await _picture(app, pilot, screen_text if out.suffix == ".txt" else screen_svg)
        damage = app.feed.frame.damage or app.failure
        if damage is not None:
            failure.append(damage)
        elif not is_settled:
            failure.append(f"The ledger was not read within {_WAIT_SECONDS:.0f} s: draw a picture of fewer records with --at.")
        else:
            out.write_text(picture, encoding="utf-8")
        app.exit(0)

    app.run(headless=True, size=size, auto_pilot=draw)
    if failure:
        raise SnapshotError(failure[0])


async def _picture(app: KdApp, pilot: Pilot[Any], draw: Callable[[KdApp], str]) -> str:
    """What is seen once it stays so: a scroll bar that comes or goes lays the screen out once more."""
    seen: list[str] = []
    while len(seen) < _MOST_LOOKS and (len(seen) < _EQUAL_LOOKS or len(set(seen[-_EQUAL_LOOKS:])) > 1):
        await pilot.pause(_LOOK_SECONDS)
        seen.append(draw(app))
    return seen[-1]
