"""Whether a link means this ledger."""

from __future__ import annotations

from kd.views.position_link import PositionLink, chain_prefix
from ledger.lines import parse
from ledger.segments import FileStore

__all__ = ["OtherChainError", "check_link"]


class OtherChainError(Exception):
    """A link was made of another ledger, or of this one before it was changed."""


def check_link(store: FileStore, link: PositionLink, *, end: int) -> None:
    """OtherChainError if the record there is not the one that the link names, ValueError if there is none before `end`."""
    if not 0 <= link.position < end:
        raise ValueError(f"There is no position {link.position} in this ledger, expected 0 to {end - 1}.")
    if link.chain_prefix is None:
        return
    found = chain_prefix(parse(next(store.lines(link.position, link.position + 1))).c)
    if found != link.chain_prefix:
        raise OtherChainError(
            f"Record {link.position} has the chain hash {found}…, but the link says {link.chain_prefix}…: another ledger."
        )
