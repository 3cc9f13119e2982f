"""A run that is killed at random instants and resumed, beside one that nobody disturbs."""

from __future__ import annotations

from tests.bench.command_line import CONFIGS
from tests.bench.rows import Row
from tests.bench.scratch import scratch_folder
from tests.faults.kill_storm import storm, undisturbed

__all__ = ["measure"]

_SEED = 20


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """What differs, is lost or is done twice after `num_rounds` kills; 20 (quick) or 100 unless told."""
    config = CONFIGS / "tiny.yaml"
    with scratch_folder() as folder:
        expected, num_records = undisturbed(config, folder)
        found = storm(config, folder, num_rounds or (20 if is_quick else 100), _SEED, records_of_a_run=num_records)
    differing = [name for name in sorted({*expected, *found.digests}) if expected.get(name) != found.digests.get(name)]
    note = f"{found.num_kills} kills over {found.num_runs} runs of configs/tiny.yaml"
    compared = f"{len(expected)} digests; {note}" + (f"; differing: {', '.join(differing)}" if differing else "")
    return (
        _zero("digests that differ", len(differing), "artifacts", compared),
        _zero("stored teacher replies requested again", found.num_requests_repeated, "requests", note),
        _zero("processes that outlive a killed owner", found.num_orphans, "processes", note),
        _zero("exit code of kd audit", found.audit_exit, "exit code", note),
    )


def _zero(work: str, ours: int, unit: str, note: str) -> Row:
    return Row(work=work, ours=ours, unit=unit, against="undisturbed run", theirs=0, must="ours == 0", holds=ours == 0, note=note)
