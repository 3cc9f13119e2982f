"""How a subject times its own appends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

__all__ = ["NOTE", "die", "timed"]

NOTE = "x" * 220
"""Fills a record up to about 400 bytes."""


def timed(append: Callable[[int], object], n: int) -> dict[str, float]:
    """Seconds that `n` appends took, the longest of them, and the processor's share."""
    longest, begin, cpu = 0.0, time.perf_counter(), time.process_time()
    last = begin
    for number in range(n):
        append(number)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return {"seconds": last - begin, "longest_seconds": longest, "cpu_seconds": time.process_time() - cpu}


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)
