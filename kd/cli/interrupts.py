"""Ctrl-C: the first asks the run to pause, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kd.cli.exit_codes import STOPPED_AT_ONCE

__all__ = ["counting_interrupts"]


@contextmanager
def counting_interrupts(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Within the block, a first SIGINT or SIGTERM makes the yielded function true, which `say` tells; a second exits with 130."""
    seen: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        seen.append(number)
        if len(seen) == 1:
            say("Pausing at the next safe point. Press Ctrl-C again to stop at once.")
        else:
            # no clean-up: the ledger is whole at every instant, and a clean-up could hang
            os._exit(STOPPED_AT_ONCE)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
