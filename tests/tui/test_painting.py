"""Lines are exactly as wide as they should be, whatever is in them; lists keep their choice when rows come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from kd.views.safe_text import safe_text
from tests.tui.pilots import wait_for
from tui.themes import PALETTES, UNICODE, textual_theme
from tui.widgets.item_figures import sparkline
from tui.widgets.painting import cut, fitted, paint, width_of, wrapped
from tui.widgets.row_list import Column, RowList, Rows
from tui.widgets.sample_counts import bars_of, counted
from tui.widgets.transcript import Block, ReadingText, Transcript

_TEXTS = st.lists(st.text(alphabet="ab 漢字é ️", max_size=20), max_size=5)


@given(_TEXTS, st.integers(min_value=1, max_value=30))
def test_a_painted_line_has_its_width(texts: list[str], width: int) -> None:
    """Wide characters, spaces and cuts included."""
    pieces = [(safe_text(text), "text") for text in texts]
    assert paint(pieces, width=width, palette=PALETTES["kd-dark"]).cell_length == width
    assert width_of(fitted(pieces, width)) == width
    assert width_of(cut(pieces, width)) <= width


@given(_TEXTS, st.integers(min_value=2, max_value=30))
def test_wrapping_loses_nothing(texts: list[str], width: int) -> None:
    """The lines joined are the text; none is wider than the room but for spaces at its end."""
    pieces = [(safe_text(text), "text") for text in texts]
    lines = wrapped(pieces, width)
    assert "".join(text for line in lines for text, _ in line) == "".join(text for text, _ in pieces)
    for line in lines:
        text = "".join(text for text, _ in line).rstrip(" ")
        assert width_of([(text, "text")]) <= width


def test_counts_stand_by_size() -> None:
    """The most frequent first, equals by name."""
    assert "".join(text for text, _ in counted({"b": 1, "a": 1, "c": 9}, UNICODE)) == "c 9 · a 1 · b 1"


def test_every_length_is_in_a_bar() -> None:
    """Even one of a thousand is seen, and equal lengths are one bar."""
    text = "".join(text for text, _ in bars_of([1] * 1000 + [100], UNICODE))
    assert text.count("█") == 1
    assert text.count("▁") == 1
    assert "█" in "".join(text for text, _ in bars_of([5, 5], UNICODE))


def test_a_bar_for_each_token() -> None:
    """Numbers per token keep their order, and equal ones are level."""
    line, facts = sparkline([0.0, 1.0, 0.5], UNICODE)
    assert line[0][0] == "▁█▅"
    assert facts[0][0] == "3 tokens, 0 to 1, mean 0.5000"


class _Panes(App[None]):
    def __init__(self) -> None:
        super().__init__()
        for palette in PALETTES.values():
            self.register_theme(textual_theme(palette))
        self.theme = "kd-dark"

    def compose(self) -> ComposeResult:
        yield RowList()
        yield Transcript()


def _rows(names: list[str]) -> Rows:
    columns = (Column("name", 6, grows=True), Column("length", 6, is_right=True, rank=1))
    return Rows(
        columns=columns,
        num_rows=len(names),
        cells=lambda index: (((safe_text(names[index]), "text"),), ((f"{len(names[index])}", "muted"),)),
        key=lambda index: names[index],
        empty="no names",
    )


async def test_the_choice_stays_with_its_row() -> None:
    """A row keeps being chosen when others come before it; where it went away, its place is kept."""
    app = _Panes()
    async with app.run_test(size=(40, 20)) as pilot:
        rows = app.query_one(RowList)
        rows.rows = _rows(["a", "b", "c"])
        rows.choose(1)
        rows.rows = _rows(["x", "y", "a", "b", "c"])
        await wait_for(pilot, lambda: rows.chosen == 3)
        rows.rows = _rows(["x"])
        assert rows.chosen == 0
        rows.rows = _rows([])
        assert rows.chosen is None


async def test_a_long_list_draws_only_what_is_seen() -> None:
    """A hundred thousand rows ask for the cells of those in sight alone, at both ends."""
    app, asked = _Panes(), set[int]()
    async with app.run_test(size=(40, 20)) as pilot:
        rows = app.query_one(RowList)

        def cells(index: int) -> tuple[tuple[tuple[str, str], ...], ...]:
            asked.add(index)
            return (((f"row {index}", "text"),),)

        rows.rows = Rows(columns=(Column("row", 10),), num_rows=100_000, cells=cells)
        await wait_for(pilot, lambda: 0 in asked)
        rows.lines.do_bottom()
        await wait_for(pilot, lambda: 99_999 in asked)
    assert len(asked) < 60


async def test_a_text_is_wrapped_and_begins_at_its_top() -> None:
    """A text longer than the pane scrolls; another text begins at its first line."""
    app = _Panes()
    async with app.run_test(size=(40, 20)) as pilot:
        pane = app.query_one(Transcript)
        long = Block(title="LONG", lines=tuple(((f"line {number} " * 9, "text"),) for number in range(50)))
        pane.text = ReadingText(blocks=(long,), key=1)
        await wait_for(pilot, lambda: pane.virtual_size.height > 100)
        pane.do_bottom()
        await wait_for(pilot, lambda: pane.scroll_y > 0)
        pane.text = ReadingText(blocks=(Block(title="NEXT"), long), key=2)
        await wait_for(pilot, lambda: pane.scroll_y == 0)
