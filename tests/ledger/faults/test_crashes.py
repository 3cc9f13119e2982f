"""Killed processes and lost power: what was acknowledged is there afterwards, whole and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.faults.power import lose_power
from tests.ledger.faults.storms import kill_writers
from tests.ledger.faults.tracing import MISSING


def test_writers_killed_at_random_instants_lose_nothing(tmp_path: Path) -> None:
    """Four writers are killed again and again, in repairs and rolls too: no acknowledged batch is lost, cut or doubled."""
    outcome = kill_writers(tmp_path, num_rounds=10)
    assert outcome.violations == ()


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "strace is there")
def test_power_lost_at_any_step_takes_no_acknowledged_transition(tmp_path: Path) -> None:
    """Of what nobody waited for any part may be gone; the rest opens, and holds every acknowledged transition."""
    outcome = lose_power(tmp_path, num_tries=250)
    assert outcome.violations == ()
