"""Colours and glyphs: state is always a glyph and a word, never a colour alone.

All text pairs of a palette contrast by at least 4.5:1; `kd-cb` takes the colours of Okabe and Ito, which the colour-blind tell apart.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve as replace
from attrs import fields, frozen
from textual.app import App
from textual.theme import Theme

__all__ = ["ASCII", "PALETTES", "UNICODE", "Glyphs", "Palette", "contrast", "glyphs_of", "palette_of", "textual_theme"]


@frozen(kw_only=True)
class Palette:
    """The colours of a theme by what they say, as Textual names them."""

    name: str
    is_dark: bool
    background: str
    panel: str
    """Behind the header, the footer and titles."""
    selection: str
    """Behind the chosen line."""
    text: str
    muted: str
    accent: str
    """Keys, links, the focused border."""
    good: str
    warn: str
    bad: str
    held: str
    """The view is held at a moment of the past."""
    paused: str
    """The run is paused."""
    series: tuple[str, ...]
    """Lines of a chart, in the order they are given out."""


_DARK = Palette(
    name="kd-dark",
    is_dark=True,
    background="#10141a",
    panel="#1b222c",
    selection="#2a3646",
    text="#d8dee6",
    muted="#94a0af",
    accent="#6cb6ff",
    good="#6bc985",
    warn="#e3b341",
    bad="#ff8d85",
    held="#79c0ff",
    paused="#f2cc60",
    series=("#6cb6ff", "#6bc985", "#e3b341", "#d2a8ff", "#ff8d85", "#56d4dd", "#f0a36b", "#b8c4d2"),
)
_LIGHT = Palette(
    name="kd-light",
    is_dark=False,
    background="#fbfcfd",
    panel="#e9edf2",
    selection="#d3e2f4",
    text="#1c232b",
    muted="#505b68",
    accent="#0a55b0",
    good="#14602c",
    warn="#7a4b00",
    bad="#a81c22",
    held="#0a55b0",
    paused="#7a4b00",
    series=("#0a55b0", "#14602c", "#7a4b00", "#6b3fa0", "#a81c22", "#0b5f66", "#8a3d00", "#505b68"),
)
_COLOUR_BLIND = replace(
    _DARK,
    name="kd-cb",
    accent="#56b4e9",
    good="#56b4e9",
    warn="#f0e442",
    bad="#e69f00",
    held="#e0a3c6",
    paused="#f0e442",
    series=("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#e8731a", "#8fb8de", "#d8dee6"),
)
_ANSI = Palette(
    name="ansi",
    is_dark=True,
    background="ansi_default",
    panel="ansi_default",
    selection="ansi_bright_black",
    text="ansi_default",
    muted="ansi_white",
    accent="ansi_bright_blue",
    good="ansi_bright_green",
    warn="ansi_bright_yellow",
    bad="ansi_bright_red",
    held="ansi_bright_cyan",
    paused="ansi_bright_yellow",
    series=(
        "ansi_bright_blue", "ansi_bright_green", "ansi_bright_yellow", "ansi_bright_magenta",
        "ansi_bright_red", "ansi_bright_cyan", "ansi_white", "ansi_default",
    ),
)  # fmt: skip
_ANSI_VARIABLES = {
    "ansi-background": "ansi_black",
    "ansi-foreground": "ansi_white",
    "input-cursor-background": "ansi_bright_white",
    "input-cursor-foreground": "ansi_black",
    "input-selection-background": "ansi_bright_blue",
    "input-selection-foreground": "ansi_black",
}
"""Textual's own style sheets ask for these where a theme has the terminal's colours."""
PALETTES = {palette.name: palette for palette in (_DARK, _LIGHT, _COLOUR_BLIND, _ANSI)}


@frozen(kw_only=True)
class Glyphs:
    """Signs of one cell each."""

    done: str = "✓"
    failed: str = "✗"
    running: str = "●"
    waiting: str = "○"
    paused: str = "‖"
    interrupted: str = "↯"
    unknown: str = "?"
    signed: str = "◈"
    linked: str = "✓"
    unlinked: str = "·"
    chosen: str = ">"
    separator: str = "▸"
    marker: str = "◆"
    play: str = "▶"
    gate: str = "⚖"
    gap: str = "┊"
    pointer: str = "▲"
    ellipsis: str = "…"
    full: str = "█"
    empty: str = "░"
    dash: str = "–"
    middle_dot: str = "·"


UNICODE = Glyphs()
ASCII = Glyphs(
    done="+", failed="x", running="*", waiting="o", paused="=", interrupted="!", unknown="?", signed="#", linked="+", unlinked=".",
    chosen=">", separator=">", marker="*", play=">", gate="g", gap=":", pointer="^", ellipsis="~", full="#", empty=".", dash="-",
    middle_dot="|",
)  # fmt: skip


def palette_of(app: App[Any]) -> Palette:
    """The palette of the theme in use; that of `kd-dark` where an application has none of ours."""
    return PALETTES.get(app.theme, _DARK)


def glyphs_of(app: App[Any]) -> Glyphs:
    """The glyphs in use."""
    return ASCII if getattr(app, "is_ascii", False) else UNICODE


def textual_theme(palette: Palette) -> Theme:
    """The palette as Textual takes it; style sheets name its colours `$kd-good`, `$kd-panel` and so on."""
    words = [field.name for field in fields(Palette) if field.name not in {"name", "is_dark", "series"}]
    return Theme(
        name=palette.name,
        primary=palette.accent,
        secondary=palette.muted,
        warning=palette.warn,
        error=palette.bad,
        success=palette.good,
        accent=palette.accent,
        foreground=palette.text,
        background=palette.background,
        surface=palette.background,
        panel=palette.panel,
        boost=palette.panel,
        dark=palette.is_dark,
        text_alpha=1.0,
        variables={f"kd-{word}": getattr(palette, word) for word in words} | (_ANSI_VARIABLES if palette.name == "ansi" else {}),
        ansi=palette.name == "ansi",
    )


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours `#rrggbb`, from 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
