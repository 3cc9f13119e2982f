"""`kill -9` costs the step in flight and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.command_line import kd_json
from tests.faults.kill_storm import storm

CONFIG = Path("configs/tiny.yaml")
NUM_KILLS = 20


def test_killed_runs_end_as_an_undisturbed_one(finished_ledger: Path, tmp_path: Path) -> None:
    """After 20 kills at random instants: equal weights, data and packages, no reply asked for again, no orphan, and a clean audit."""
    undisturbed = {f"{row['stage']}/{row['kind']}": row["digest"] for row in kd_json("artifacts", "list", ledger=finished_ledger)}
    num_records = kd_json("show", "latest", ledger=finished_ledger)["num_records"]
    result = storm(CONFIG, tmp_path, NUM_KILLS, seed=20_000, records_of_a_run=num_records)
    assert result.digests == undisturbed
    assert result.num_kills == NUM_KILLS
    assert result.num_requests_repeated == 0
    assert result.num_orphans == 0
    assert result.audit_exit == 0
