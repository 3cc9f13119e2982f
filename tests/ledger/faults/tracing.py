"""strace on a worker: counting its system calls, having the n-th of them fail, and recording them all."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ledger.faults.nursery import Worker

__all__ = ["MISSING", "count_calls", "num_injected", "traced"]

MISSING = "" if shutil.which("strace") else "strace is not installed: apt-get install strace"
"""Why nothing can be traced here; empty where it can."""

_CALL = re.compile(r"(\d+) +([a-z0-9_]+)\(")


@contextmanager
def traced(workers: list[Worker], log: Path, *options: str) -> Iterator[None]:
    """strace attached to `workers` and their threads, writing to `log`; the workers are let go when it is."""
    pids = [word for worker in workers for word in ("-p", str(worker.pid))]
    with subprocess.Popen(["strace", "-f", "-o", str(log), *options, *pids], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        for _ in workers:
            said = tracer.stderr.readline()
            assert "attached" in said, said
        for worker in workers:
            worker.go()
        try:
            yield
        finally:
            for worker in workers:
                worker.kill()
            tracer.communicate(timeout=60)


def count_calls(log: Path) -> Counter[str]:
    """How often the first thread of the log made each system call."""
    rows = [match.groups() for line in log.read_text(errors="replace").splitlines() if (match := _CALL.match(line))]
    return Counter(name for pid, name in rows if pid == rows[0][0])


def num_injected(log: Path) -> int:
    """How many system calls of the log did not do what they should; a signal shows as the end of the process."""
    text = log.read_text(errors="replace")
    return text.count("(INJECTED") + text.count("killed by SIGKILL")
