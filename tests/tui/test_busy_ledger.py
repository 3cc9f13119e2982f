"""Ten thousand records a second: the view keeps up, keys are answered meanwhile, and nothing is lost.

`KD_BUSY_SECONDS=60` writes for so long.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import make_app, wait_for

_ROOT = Path(__file__).parents[2]
_SECONDS = float(os.environ.get("KD_BUSY_SECONDS", "1"))
_RECORDS_PER_SECOND, _BATCH = 10_000, 500
_WRITER = """
import sys, time
from kd.events import REGISTRY
from ledger import open_ledger
from tests.tui.ledgers import add_steps
path, run, seconds, rate, batch = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
with open_ledger(path, registry=REGISTRY) as store:
    began, step = time.monotonic(), 13
    while step - 13 < seconds * rate:
        add_steps(store, run, step, step + int(batch) - 1, batch=int(batch))
        step += int(batch)
        time.sleep(max(began + (step - 13) / rate - time.monotonic(), 0))
    print(store.end().position)
"""


async def test_ten_thousand_records_a_second_are_kept_up_with(tmp_path: Path) -> None:
    """Each key is answered while they come, and the last record is on screen soon after it was written."""
    ledger = tmp_path / "ledger"
    make_ledger(ledger).close()
    app = make_app(ledger, run_id=ALPHA, first_screen=2)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        command = [sys.executable, "-c", _WRITER, str(ledger), ALPHA, *map(str, (_SECONDS, _RECORDS_PER_SECOND, _BATCH))]
        waits = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as writer:
            while writer.poll() is None:
                for key in "1342":
                    began = time.monotonic()
                    await pilot.press(key)
                    waits.append(time.monotonic() - began)
                    await pilot.pause(0.05)
            assert writer.stdout is not None
            end = int(writer.stdout.read())
        ended = time.monotonic()
        await wait_for(pilot, lambda: app.feed.frame.position == end - 1)
        print(f"{end:,} records; keys answered after at most {max(waits):.3f} s; level {time.monotonic() - ended:.2f} s after the last")
        assert app.failure is None
