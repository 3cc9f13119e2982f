"""Names of positions: `[RUN]@SEQ[~8 hex digits of the chain at SEQ]`, as screens copy and commands take them."""

from __future__ import annotations

import binascii
import re

from attrs import frozen

__all__ = ["PositionLink", "chain_prefix", "format_link", "is_link", "parse_link"]

_LINK = re.compile(r"(?P<run>[A-Za-z0-9][A-Za-z0-9._-]{0,180})?@(?P<position>0|[1-9][0-9]{0,15})(?:~(?P<chain>[0-9a-f]{8}))?", re.ASCII)


@frozen(kw_only=True)
class PositionLink:
    """A run, or the whole ledger, as it was when record `position` was its last one."""

    run: str | None
    position: int
    chain_prefix: str | None
    """First 8 hex digits of the chain hash of that record; where given, another ledger's record does not pass for it."""


def is_link(text: str) -> bool:
    """Whether `text` means a position; names of runs hold no `@`."""
    return "@" in text


def parse_link(text: str) -> PositionLink:
    """The position that `text` names; ValueError if it names none."""
    match = _LINK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no link, expected RUN@SEQ, @SEQ or RUN@SEQ~ and 8 hex digits: copy one with y.")
    return PositionLink(run=match["run"], position=int(match["position"]), chain_prefix=match["chain"])


def format_link(run: str | None, position: int, chain: str | None = None) -> str:
    """The link to record `position`, whose chain hash is `chain` as records and lines have it (base64)."""
    suffix = "" if chain is None else f"~{chain_prefix(chain)}"
    return f"{run or ''}@{position}{suffix}"


def chain_prefix(chain: str) -> str:
    """First 8 hex digits of a chain hash given in base64."""
    return binascii.a2b_base64(chain)[:4].hex()
