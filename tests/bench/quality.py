"""What distillation buys: held-out KL of the trained student beside the untrained one and beside cross-entropy alone.

Both runs share a ledger, so the second takes the teacher's replies of the first; equal tokens, seed and steps, only the loss differs.
"""

from __future__ import annotations

from statistics import median

from attrs import frozen

from tests.bench.command_line import CommandLine
from tests.bench.rows import Row
from tests.bench.scratch import scratch_folder

__all__ = ["measure"]


@frozen(kw_only=True)
class _Outcome:
    distilled: float
    untrained: float
    cross_entropy: float
    num_items: int


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """Held-out KL in nats; the median over `num_rounds` seeds from 42 on; 1 (quick) or 3 unless told."""
    seeds = range(42, 42 + (num_rounds or (1 if is_quick else 3)))
    outcomes = [_one_seed(seed) for seed in seeds]
    distilled = median(outcome.distilled for outcome in outcomes)
    untrained = median(outcome.untrained for outcome in outcomes)
    cross_entropy = median(outcome.cross_entropy for outcome in outcomes)
    note = f"KL(teacher || student), n = {outcomes[0].num_items}, seeds {', '.join(map(str, seeds))}; configs/quickstart.yaml"
    return (
        _row("untrained student", distilled, untrained, note),
        _row("student trained with cross-entropy alone", distilled, cross_entropy, note),
    )


def _row(against: str, ours: float, theirs: float, note: str) -> Row:
    ratio = ours / theirs
    return Row(
        work="held-out KL of the distilled student",
        ours=ours,
        unit="nats",
        against=against,
        theirs=theirs,
        ratio=ratio,
        must="ratio < 1",
        holds=ratio < 1,
        note=note,
    )


def _one_seed(seed: int) -> _Outcome:
    with scratch_folder() as folder:
        kd = CommandLine(folder / "ledger")
        distilled = _kl_nats(kd, kd.run("quickstart", "--set", f"seed={seed}"))
        alone = _kl_nats(kd, kd.run("quickstart", "--set", f"seed={seed}", "--set", "training.loss.kd.weight=0"))
    return _Outcome(
        distilled=distilled["student"][0],
        untrained=distilled["untrained"][0],
        cross_entropy=alone["student"][0],
        num_items=distilled["student"][1],
    )


def _kl_nats(kd: CommandLine, run: str) -> dict[str, tuple[float, int]]:
    """Arm → held-out KL and number of items."""
    measured = (event["measurement"] for event in kd.events(run, name="evaluation.measurement_recorded"))
    return {m["slice"]: (m["value"], m["n"]) for m in measured if m["suite"] == "lm" and m["metric"] == "kl_nats"}
