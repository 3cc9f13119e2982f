"""Texts of blobs: cut into pages without harm, and hidden where texts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd.events import REGISTRY
from ledger import create_ledger, open_ledger
from ledger.record import BlobRef
from ledger.redaction import Redactor
from tests.tui.ledgers import make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.feed.blobs import BLOB_PAGE_BYTES, BlobPages
from tui.screens.ledger import LedgerScreen
from tui.settings import Settings
from tui.widgets.record_pane import RecordPane

_SECRET = "sk-plantedplantedplanted1234"


def _pages(folder: Path, text: str) -> tuple[str, ...]:
    """The pages of a blob with `text`, whose writer knew no redactor."""
    with create_ledger(folder, origin="blob.invalid/tui", registry=REGISTRY) as store:
        ref: BlobRef = store.blobs.put_bytes(text.encode())
    with open_ledger(folder, registry=REGISTRY, redactor=Redactor({})) as store:
        pages = BlobPages(store, lambda _: None)
        found = [pages.read(ref, number) for number in range(pages.read(ref).num_pages)]
        pages.stop()
    assert [page.problem for page in found] == [None] * len(found)
    return tuple("\n".join(page.lines) for page in found)


@pytest.mark.parametrize("before", range(0, len(_SECRET) + 2, 3))
def test_a_secret_across_the_end_of_a_page_is_not_drawn(tmp_path: Path, before: int) -> None:
    """However much of it stands before the boundary, in one long line or in many."""
    fill = BLOB_PAGE_BYTES - before
    for number, lead in enumerate(("word " * fill, "a line\n" * fill)):
        text = "".join(_pages(tmp_path / str(number), f"{lead[: fill - 1]} {_SECRET} and so on"))
        assert "[redacted:sk]" in text
        assert "planted" not in text


@pytest.mark.parametrize("sign", ["é", "語", "😀"])
def test_no_character_is_cut_by_the_end_of_a_page(tmp_path: Path, sign: str) -> None:
    """Pages hold whole characters, each once."""
    text = f"x{sign * BLOB_PAGE_BYTES}"
    with create_ledger(tmp_path / "ledger", origin="blob.invalid/tui", registry=REGISTRY) as store:
        ref = store.blobs.put_bytes(text.encode())
        pages = BlobPages(store, lambda _: None)
        lines = [line for number in range(pages.read(ref).num_pages) for line in pages.read(ref, number).lines]
        pages.stop()
    assert "\ufffd" not in "".join(lines)


def test_pages_hold_every_line_once(tmp_path: Path) -> None:
    """A page ends where a line ends."""
    lines = [f"line {number}" for number in range(20_000)]
    pages = _pages(tmp_path / "ledger", "\n".join(lines))
    assert len(pages) > 2
    assert "\n".join(pages).split("\n") == lines


async def test_without_content_no_blob_is_opened(tmp_path: Path) -> None:
    """Where the texts of prompts and replies are hidden, so are the blobs that hold them: a sentence says so."""
    make_ledger(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger", first_screen=4, settings=Settings(content=False))
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 10")
        await wait_for(pilot, lambda: "training.batches_planned/1" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen.has_class("-one-record"))
        pane = app.screen.query_one(RecordPane)
        pane.chosen = next(index for index, row in enumerate(pane._rows) if isinstance(row.target, BlobRef))
        await pilot.press("enter")
        await wait_for(pilot, lambda: "are hidden" in text_of(app))
        assert isinstance(app.screen, LedgerScreen)
