"""The Ledger screen: lines by position, the record pane, filter, links, proof, and damage."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from kd.events import REGISTRY
from ledger import create_ledger
from ledger.proofs import verify_proof
from ledger.tree_head import Signer
from tests.tui.ledgers import ALPHA, add_steps, make_ledger
from tests.tui.pilots import make_app, text_of, wait_for
from tui.feed.filters import Found
from tui.screens.blob_text import BlobText
from tui.screens.ledger import LedgerScreen
from tui.widgets.record_pane import RecordPane


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """54 records."""
    make_ledger(tmp_path / "ledger").close()
    return tmp_path / "ledger"


def _chosen(app: object) -> Callable[[int], bool]:
    return lambda position: app.screen.chosen_position == position  # type: ignore[attr-defined]


async def test_it_begins_at_the_newest_record_and_follows(tmp_path: Path) -> None:
    """New records are chosen as they come, until a line is chosen by hand."""
    with make_ledger(tmp_path / "ledger") as store:
        app = make_app(tmp_path / "ledger", first_screen=4)
        async with app.run_test(size=(140, 30)) as pilot:
            await wait_for(pilot, lambda: app.is_settled)
            end = store.end().position
            assert _chosen(app)(end - 1)
            add_steps(store, ALPHA, 13, 14)
            await wait_for(pilot, lambda: _chosen(app)(end + 1))
            await pilot.press("k")
            add_steps(store, ALPHA, 15, 16)
            await wait_for(pilot, lambda: app.feed.frame.position == end + 3)
            assert _chosen(app)(end)


async def test_the_pane_shows_envelope_payload_and_stored_bytes(ledger: Path) -> None:
    """What is stored is what is shown, under the record's type."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(160, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 37")
        await wait_for(pilot, lambda: "run.pause_requested/1" in text_of(app))
        text = text_of(app)
        assert "ana@host, as claimed" in text
        assert "lunch" in text
        assert "stored bytes" in text


async def test_a_filter_leaves_what_matches_and_a_bad_one_says_where(ledger: Path) -> None:
    """Matches are counted; a mistake names its column and keeps the old result."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("/", *"type:run.pause*")
        await wait_for(pilot, lambda: "3 matches" in text_of(app) and "looked through" not in text_of(app))
        await pilot.press(*" (")
        await wait_for(pilot, lambda: "Column" in text_of(app))
        assert app.feed.scan is not None
        assert len(app.feed.scan) == 3
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.feed.scan is None)


async def test_enter_gives_the_record_the_whole_screen_and_opens_its_blob(ledger: Path) -> None:
    """A row that points to a blob shows its text; Escape goes back, one step at a time."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(140, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 10")
        await wait_for(pilot, lambda: "training.batches_planned/1" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen.has_class("-one-record"))
        pane = app.screen.query_one(RecordPane)
        for index in range(60):
            pane.chosen = index
            if getattr(pane._rows[index], "target", None) is not None:
                break
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, BlobText) and "weights" in text_of(app))
        assert "digest right" in text_of(app)
        await pilot.press("escape", "escape")
        await wait_for(pilot, lambda: isinstance(app.screen, LedgerScreen) and not app.screen.has_class("-one-record"))


async def test_brackets_go_along_a_stream(ledger: Path) -> None:
    """`[` and `]` find the neighbours in the record's own stream."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 37")
        await wait_for(pilot, lambda: _chosen(app)(37) and app.is_settled)
        await pilot.press("left_square_bracket")
        await wait_for(pilot, lambda: _chosen(app)(28))
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("right_square_bracket")
        await wait_for(pilot, lambda: _chosen(app)(37))


async def test_space_holds_the_view_at_the_record_and_l_goes_live(ledger: Path) -> None:
    """All screens then show that moment, with its time."""
    app = make_app(ledger, first_screen=4)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 20")
        await wait_for(pilot, lambda: _chosen(app)(20))
        await pilot.press("space")
        await wait_for(pilot, lambda: "VIEW HELD" in text_of(app))
        assert app.feed.frame.position == 20
        await pilot.press("1")
        await wait_for(pilot, lambda: "1 run " in text_of(app))
        await pilot.press("L")
        await wait_for(pilot, lambda: "3 runs" in text_of(app))


async def test_v_writes_a_proof_that_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a signed head the proof file holds; its lamp shows that the record is signed."""
    signer = Signer.generate("signed.invalid/tui")
    with create_ledger(tmp_path / "ledger", origin="signed.invalid/tui", registry=REGISTRY, signer=signer) as store:
        store.sign_head()
    monkeypatch.chdir(tmp_path)
    app = make_app(tmp_path / "ledger", first_screen=4)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await app.run_command("record 0")
        await wait_for(pilot, lambda: _chosen(app)(0) and "◈" in text_of(app))
        await pilot.press("v")
        proof = tmp_path / "record-0.tlog-proof"
        await wait_for(pilot, lambda: proof.exists() and proof.stat().st_size)
        assert verify_proof(proof.read_text(encoding="utf-8"), [signer.vkey]).position == 0


async def test_damage_freezes_the_view_under_a_red_bar(tmp_path: Path) -> None:
    """A changed byte is named in one sentence; what was linked before it stays on screen."""
    make_ledger(tmp_path / "ledger").close()
    app = make_app(tmp_path / "ledger", first_screen=4)
    async with app.run_test(size=(140, 30)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        before = app.feed.frame.position
        segment = next((tmp_path / "ledger" / "seg").glob("*.jsonl"))
        with segment.open("ab") as stream:
            stream.write(b'{"c":"no chain at all"}\n')
        await wait_for(pilot, lambda: "DAMAGED" in text_of(app))
        assert app.feed.frame.position == before
        assert "kd ledger fsck" in text_of(app)


def test_matches_stay_where_they_are_while_more_are_found() -> None:
    """Older matches that come later move no line of what is shown, so that a choice stays on its record."""
    older, newer = array("Q", [9, 7]), array("Q", [12])
    found = Found(older=older, newer=newer, num_older=2, num_newer=1)
    older.append(3)
    newer.append(15)
    assert [found[index] for index in range(len(found))] == [7, 9, 12]
    assert [found.num_before(position) for position in (3, 7, 9, 10, 12, 13, 20)] == [0, 0, 1, 2, 2, 3, 3]
