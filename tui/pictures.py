"""The screen as a file's content: SVG that loads nothing from elsewhere, or plain characters."""

from __future__ import annotations

import re
from typing import Any

from textual.app import App

__all__ = ["screen_svg", "screen_text"]

_FONT_FACE = re.compile(r"\s*@font-face \{.*?\n\s*\}\n", re.DOTALL)
_FONTS = "Menlo, Consolas, DejaVu Sans Mono, monospace"


def screen_svg(app: App[Any]) -> str:
    """What is seen, with the fonts of whoever looks at it."""
    svg = _FONT_FACE.sub("", app.export_screenshot(title="kd", simplify=True))
    return svg.replace("Fira Code", _FONTS).replace("font-family: arial", "font-family: sans-serif")


def screen_text(app: App[Any]) -> str:
    """The characters that are seen, without trailing spaces."""
    lines = app.screen._compositor.render_strips()
    return "".join(f"{''.join(segment.text for segment in line).rstrip()}\n" for line in lines)
