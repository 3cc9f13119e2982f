"""What became of one kind of fault: how often it was tried, how often it struck, and which promises were broken."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Outcome"]


@frozen(kw_only=True)
class Outcome:
    """The answer of every fault function of this package."""

    fault: str
    num_tried: int
    violations: tuple[str, ...] = ()
    """One sentence for each acknowledged record that was lost, change that was not noticed, or inconsistent opening."""
    num_struck: int | None = None
    """How many of the tries really met the fault, where that is not all of them."""
    skipped: str = ""
    """Why it could not be tried here."""
    note: str = ""
