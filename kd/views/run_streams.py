"""Which records a view of one run folds: those of the run, its stages and its owners; others leave it as it is."""

from __future__ import annotations

from functools import lru_cache

from ledger.events import OWNER_STREAMS

__all__ = ["is_of_owner", "is_of_run", "stage_of"]


@lru_cache(maxsize=4096)
def is_of_run(stream: str, run: str) -> bool:
    """Whether `stream` is the run's own or one of its stages'."""
    return stream.startswith("run/") and stream[4:].partition("/")[0] == run


def is_of_owner(stream: str, run: str) -> bool:
    """Whether `stream` says who works on the run."""
    return stream == OWNER_STREAMS + run


def stage_of(stream: str) -> str:
    """The stage whose stream it is; empty for a run's own."""
    return stream.rpartition("/")[2] if stream.count("/") == 2 else ""
