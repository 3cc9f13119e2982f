"""A screen as a file: the same bytes for the same ledger, size, theme and version, and no terminal needed."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tui.app import KdApp

__all__ = ["SnapshotError", "screen_svg", "screen_text", "write_snapshot"]

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\n\s*\}\n", re.DOTALL)
_FONTS = "Menlo, Consolas, DejaVu Sans Mono, monospace"


class SnapshotError(Exception):
    """The ledger is damaged, or could not be read."""


def write_snapshot(app: KdApp, out: Path, size: tuple[int, int]) -> None:
    """Draw the application's first screen into `out`, SVG or text by its suffix. SnapshotError at damage."""
    failure: list[str] = []

    async def draw(pilot: Pilot[Any]) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not app.is_settled and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
        await pilot.pause()
        damage = app.feed.frame.damage or app.failure
        if damage is not None:
            failure.append(damage)
        else:
            out.write_text(screen_text(app) if out.suffix == ".txt" else screen_svg(app), encoding="utf-8")
        app.exit(0)

    app.run(headless=True, size=size, auto_pilot=draw)
    if failure:
        raise SnapshotError(failure[0])


def screen_svg(app: KdApp) -> str:
    """The screen as SVG that loads nothing from elsewhere."""
    svg = _FONT_FACE.sub("", app.export_screenshot(title="kd", simplify=True))
    return svg.replace("Fira Code", _FONTS).replace("font-family: arial", "font-family: sans-serif")


def screen_text(app: KdApp) -> str:
    """The characters of the screen, without trailing spaces."""
    lines = app.screen._compositor.render_strips()
    return "".join(f"{''.join(segment.text for segment in line).rstrip()}\n" for line in lines)
