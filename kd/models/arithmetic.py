"""Arithmetic that gives the same bits every time: deterministic kernels and a fixed number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["exact_arithmetic", "set_exact_arithmetic"]


def set_exact_arithmetic(threads: int) -> None:
    """Deterministic kernels on `threads` threads, for the rest of the process."""
    # `use_deterministic_algorithms` sets the same flag, and imports torch's compiler to do so, which takes seconds
    torch.set_deterministic_debug_mode("error")
    torch.set_num_threads(threads)
    # nothing here reads what it has not written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """The same within the block; what was set before is set again afterwards."""
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    set_exact_arithmetic(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]
