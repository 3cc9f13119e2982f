"""Colours that can be read, and glyphs of one cell."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from attrs import asdict

from kd.views.safe_text import cell_width
from tests.tui.judged_ledger import FIRST, write_judged_ledger
from tests.tui.ledgers import make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.settings import Settings, load_settings
from tui.themes import ASCII, PALETTES, UNICODE, Palette, contrast

_FULL = [palette for palette in PALETTES.values() if palette.name != "ansi"]


@pytest.mark.parametrize("palette", _FULL, ids=lambda palette: palette.name)
def test_every_text_is_readable_on_every_ground(palette: Palette) -> None:
    """Text contrasts with what lies behind it by at least 4.5:1."""
    tones = (
        palette.text,
        palette.muted,
        palette.accent,
        palette.good,
        palette.warn,
        palette.bad,
        palette.held,
        palette.paused,
    )
    grounds = (palette.background, palette.panel, palette.selection)
    pairs = [*itertools.product(tones, grounds), *itertools.product(palette.series, grounds[:2])]
    worst = min((contrast(tone, ground), tone, ground) for tone, ground in pairs)
    assert worst[0] >= 4.5, worst


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_every_glyph_takes_one_cell(glyphs: object) -> None:
    """Columns stay where they are."""
    assert all(cell_width(glyph) == 1 and len(glyph) == 1 for glyph in asdict(glyphs).values())


def test_ascii_glyphs_are_ascii() -> None:
    """A terminal without Unicode shows every sign."""
    assert all(glyph.isascii() for glyph in asdict(ASCII).values())


@pytest.mark.parametrize("theme", list(PALETTES))
async def test_every_theme_draws(tmp_path: Path, theme: str) -> None:
    """No theme names a colour that Textual does not know."""
    make_ledger(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger", settings=Settings(theme=theme, ascii=theme == "ansi"))
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        assert app.theme == theme
        assert "interrupted" in text_of(app)


async def test_every_screen_can_be_drawn_in_the_terminal_s_colours(tmp_path: Path) -> None:
    """Sixteen colours with names of their own; pictures hold the other themes."""
    write_judged_ledger(tmp_path / "ledger")
    app = make_app(tmp_path / "ledger", run_id=FIRST, settings=Settings(theme="ansi"))
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        for number in range(1, 9):
            await pilot.press(str(number), "tab")
            await wait_for(pilot, lambda: app.is_settled)


def test_without_a_file_settings_are_as_they_come(tmp_path: Path) -> None:
    """Nobody needs a file."""
    assert load_settings(tmp_path / "tui.yaml") == Settings()


def test_the_file_sets_what_it_names(tmp_path: Path) -> None:
    """The rest stays as it comes."""
    path = tmp_path / "tui.yaml"
    path.write_text("theme: kd-light\nmouse: false\nkeys: {pause: f5}\n", encoding="utf-8")
    assert load_settings(path) == Settings(theme="kd-light", mouse=False, keys={"pause": "f5"})


def test_all_mistakes_of_the_file_are_told_at_once(tmp_path: Path) -> None:
    """Each mistake is a line that names its key."""
    path = tmp_path / "tui.yaml"
    path.write_text("theme: blue\nmouse: perhaps\nhalf_life_steps: -1\nnonesuch: 1\nkeys: [x]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="theme") as caught:
        load_settings(path)
    assert len(str(caught.value).splitlines()) == 5


def test_a_file_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    """Broken YAML is one sentence."""
    path = tmp_path / "tui.yaml"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be read"):
        load_settings(path)
