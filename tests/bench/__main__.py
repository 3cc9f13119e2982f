"""`tools/bench NAME`: run one benchmark and print its rows."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from tests.bench.results import RESULTS, record
from tests.bench.rows import Row, rows_to_json, rows_to_table

_BENCHMARKS = {
    "append": "share of a training step that recording its event costs",
    "faults": "what is lost, changed unnoticed or inconsistent after every fault that a ledger must stand",
    "kill": "a run that is killed at random instants and resumed, beside one that nobody disturbs",
    "ledger": "append, replay and follow beside the floor that the disk and the parser set",
    "reading": "a ledger of a million records: opening, reading and replaying to any position, following, memory",
    "tui": "the terminal application on a million records: start, keys, scrubbing, live records, idling, memory",
    "quality": "held-out KL of the trained student beside the untrained one and cross-entropy alone",
}


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 if every goal holds, 1 if one does not."""
    options = _parser().parse_args(arguments)
    module = importlib.import_module(f"tests.bench.{options.name}")
    rows: tuple[Row, ...] = module.measure(is_quick=options.quick, num_rounds=options.rounds)
    print(rows_to_json(rows) if options.json else rows_to_table(rows))
    if options.record:
        record(options.name, "tools/bench " + " ".join(arguments), rows)
        print(f"recorded in {RESULTS}", file=sys.stderr)
    return 1 if any(row.holds is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:9}{text}" for name, text in _BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="tools/bench", description=f"benchmarks:\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(_BENCHMARKS), help="what to measure")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds to measure; of `kill`: kills, of `quality`: seeds")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--record", action="store_true", help="also write the rows to tests/bench/RESULTS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
