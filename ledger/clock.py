"""The wall clock as an argument: what asks for the time says so in its signature."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Anything that can say what time it is."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...


class SystemClock:
    """The machine's own wall clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
