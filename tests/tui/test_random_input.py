"""Whatever hands do, nothing breaks: keys, clicks, drags and sizes at random.

`KD_RANDOM_INPUTS=10000` gives so many; each seed is a test of its own, and a failure names the inputs before it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.judged_ledger import FIRST, write_judged_ledger
from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import digest_of, make_app, wait_for
from tests.tui.random_input import RandomInput

_NUM_INPUTS = int(os.environ.get("KD_RANDOM_INPUTS", "200"))


def _judged(folder: Path) -> str:
    write_judged_ledger(folder)
    return FIRST


def _unfinished(folder: Path) -> str:
    make_ledger(folder).close()
    return ALPHA


@pytest.mark.parametrize(("write", "seed"), [(_judged, 1), (_unfinished, 2)])
async def test_no_input_raises_or_changes_anything(write: object, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --write no exception comes, no thread fails, and no byte of the ledger changes."""
    monkeypatch.chdir(tmp_path)  # pictures and proofs are saved where the process stands
    ledger = tmp_path / "ledger"
    assert callable(write)
    run = write(ledger)
    before, left = digest_of(ledger), _NUM_INPUTS
    while left > 0:
        app = make_app(ledger, run_id=run, first_screen=2)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await wait_for(pilot, lambda app=app: app.is_settled)
            hands = RandomInput(app, pilot, seed + left)
            try:
                left = await hands.give(left)
            finally:
                print("last:", *hands.last)
            assert app.failure is None
            assert app.is_running or app.return_value == 0
    assert digest_of(ledger) == before
