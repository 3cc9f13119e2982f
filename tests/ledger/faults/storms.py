"""Writers that are killed at random instants, in the middle of a batch, a repair or a roll, over and over."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

from ledger.crash_matrix import check_recovery
from ledger.opening import create_ledger, open_ledger
from ledger.record import Appended
from tests.ledger.examples import ORIGIN, REGISTRY
from tests.ledger.faults.nursery import Nursery, Worker
from tests.ledger.faults.outcome import Outcome
from tests.ledger.faults.tasks import acknowledged

__all__ = ["kill_writers"]

_MAX_BYTES = 3_000_000
"""A ledger this long is examined, and the storm goes on with a new one."""


def kill_writers(folder: Path, *, num_rounds: int, num_writers: int = 4, seed: int = 7) -> Outcome:
    """`num_rounds` times: let writers append until each was answered now and then, kill them, tear the tail of the file."""
    dice = random.Random(seed)
    violations: list[str] = []
    num_ledgers = num_answers = 0
    with Nursery(folder) as nursery:
        left = num_rounds
        while left:
            ledger = folder / f"storm-{num_ledgers}"
            create_ledger(ledger, origin=ORIGIN, registry=REGISTRY).close()
            answers: list[Appended] = []
            while left and sum(path.stat().st_size for path in (ledger / "seg").iterdir()) < _MAX_BYTES:
                left -= 1
                answers += _round(nursery, ledger, f"{seed}-{left}", num_writers, dice, violations)
                _tear(ledger, dice)
            violations += check_recovery(ledger, REGISTRY, answers)
            violations += _retry(ledger, answers)
            num_answers += len(answers)
            num_ledgers += 1
    return Outcome(
        fault=f"{num_writers} writers killed at random instants",
        num_tried=num_rounds,
        violations=tuple(violations),
        note=f"{num_answers} acknowledged batches in {num_ledgers} ledgers; seed {seed}",
    )


def _round(nursery: Nursery, ledger: Path, name: str, num_writers: int, dice: random.Random, violations: list[str]) -> list[Appended]:
    """The answers of one round's writers, which are killed one after the other."""
    with ExitStack() as stack:
        workers = [stack.enter_context(nursery.worker("storm", ledger, f"{name}-{number}", is_gated=True)) for number in range(num_writers)]
        for worker in workers:
            worker.go()
        said = {worker: [worker.line() for _ in range(dice.choice((0, 0, 1, 2, 5)))] for worker in workers}
        for worker in dice.sample(workers, len(workers)):
            worker.kill()
        lines = {worker: [*said[worker], *_whole_lines(worker)] for worker in workers}
    violations += [line for each in lines.values() for line in each if line.startswith(("failed", "refused"))]
    return [answer for each in lines.values() for answer in acknowledged(each)]


def _whole_lines(worker: Worker) -> list[str]:
    """All that is left to read of a killed worker; a line that the kill cut was no answer."""
    return [line for line in worker.lines() if line.count(" ") == 5 or not line.startswith("ack ")]


def _tear(ledger: Path, dice: random.Random) -> None:
    """Now and then leave what a writer that died in its write leaves, so that the next ones are killed in its repair."""
    last = sorted((ledger / "seg").glob("*.jsonl"))[-1]
    data = last.read_bytes()
    is_sealed = b'"y":"ledger.segment_sealed' in data[data[:-1].rfind(b"\n") + 1 :]
    if dice.random() < 0.5 and data.endswith(b"\n") and not is_sealed:
        with last.open("ab") as segment:
            segment.write(b'{"c":"AAAA'[: dice.randint(1, 10)])


def _retry(ledger: Path, answers: list[Appended]) -> list[str]:
    """A retry with a known key gets the first answer again."""
    found = []
    with open_ledger(ledger, registry=REGISTRY) as store:
        keyed = {record.position: record for record in store.scan() if record.key is not None}
        for answer in answers[:: max(1, len(answers) // 20)]:
            first = keyed[answer.first]
            batch = list(store.read(first.stream, start=first.version))[: first.batch_size]
            again = store.append(first.stream, [record.event for record in batch], key=first.key)
            if not again.is_duplicate or (again.first, again.chain) != (answer.first, answer.chain):
                found.append(f"the key {first.key} of position {answer.first} was not known any more")
    return found
