"""Stores under measurement: each in processes of its own, peers in environments of their own below .bench/."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.bench.scratch import PLACE

__all__ = [
    "DBOS",
    "EVENTSOURCING",
    "FLOOR",
    "LLM_AUDIT_TRAIL",
    "MLFLOW",
    "OURS",
    "SQLITE",
    "TENSORBOARD",
    "TRACKIO",
    "Subject",
    "Worker",
    "open_workers",
]

_ROOT = Path(__file__).parents[2]


@frozen(kw_only=True)
class Subject:
    """A store that can be measured."""

    title: str
    module: str
    """Below `tests/bench/peers`."""
    requirement: str = ""
    """What its environment installs; empty if this one does."""

    def python(self) -> str:
        """The interpreter that has it; the first call installs it."""
        if not self.requirement:
            return sys.executable
        folder = PLACE / "peers" / self.requirement.replace("==", "-")
        if not (folder / "installed").exists():
            venv.create(folder, with_pip=True, clear=True)
            command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", self.requirement]
            subprocess.run(command, check=True, stdout=sys.stderr)
            (folder / "installed").touch()
        return str(folder / "bin" / "python")


OURS = Subject(title="kd ledger", module="kd_ledger")
FLOOR = Subject(title="raw write + fdatasync", module="raw_file")
SQLITE = Subject(title="SQLite WAL, synchronous=FULL", module="sqlite_wal")
EVENTSOURCING = Subject(title="eventsourcing 9.5.6 on SQLite", module="eventsourcing_sqlite", requirement="eventsourcing==9.5.6")
LLM_AUDIT_TRAIL = Subject(title="llm-audit-trail 0.1.0, fsync on", module="llm_audit_log", requirement="llm-audit-trail==0.1.0")
MLFLOW = Subject(title="MLflow 3.17.2 log_metric on SQLite", module="mlflow_sqlite", requirement="mlflow==3.17.2")
DBOS = Subject(title="DBOS 3.4.0 step on SQLite", module="dbos_sqlite", requirement="dbos==3.4.0")
TENSORBOARD = Subject(title="TensorBoard 2.20.0", module="", requirement="tensorboard==2.20.0")
TRACKIO = Subject(title="trackio 0.43.0 log()", module="trackio_queue", requirement="trackio==0.43.0")


class Worker:
    """One process of a subject on `folder`."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._log = folder.with_name(f"{folder.name}.log").open("ab")
        command = [subject.python(), "-m", "tests.bench.peers.worker", subject.module, str(folder)]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self._read()

    def start(self, do: str, n: int) -> None:
        """Give a command; `answer` waits for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "n": n}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """What the last command returned."""
        return self._read()

    def do(self, do: str, n: int) -> dict[str, float]:
        """Carry out one command."""
        self.start(do, n)
        return self.answer()

    def wait_for_death(self) -> None:
        """Return once the process is gone."""
        self._process.wait()

    def close(self) -> None:
        """End the process, letting it close its store."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A measured process ended early: see {self._log.name!r}.\n{Path(self._log.name).read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def open_workers(folder: Path, subjects: Sequence[Subject], *, num_each: int = 1) -> Iterator[dict[str, list[Worker]]]:
    """`num_each` processes for each subject, all of a subject on one folder, by its title."""
    with ExitStack() as stack:
        found: dict[str, list[Worker]] = {}
        for subject in subjects:
            workers = found[subject.title] = []
            for _ in range(num_each):
                workers.append(Worker(subject, folder / subject.module))
                stack.callback(workers[-1].close)
        yield found
