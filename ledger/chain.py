"""The hash chain that gives every line its place.

c(-1) = SHA-256("ledger/1\\n" || origin || "\\n");  c(q) = SHA-256(c(q-1) || line[51:]), with c(q-1) as 32 raw bytes and
the line without its line feed. A line begins with `{"c":"`, the 44 base64 characters of c(q) and `"`: together 51 bytes.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable

from ledger.errors import CorruptError
from ledger.record import Cursor

__all__ = ["HEAD_BYTES", "chain_bytes", "chain_text", "head", "link", "verify_lines"]

HEAD_BYTES = 51
"""Length of the part of a line that states its chain hash."""

_POSITION = re.compile(rb',"q":(0|[1-9][0-9]*),')


def link(previous: bytes, tail: bytes) -> bytes:
    """The chain hash (32 bytes) of a line whose part behind the head is `tail`."""
    return hashlib.sha256(previous + tail).digest()


def head(chain: bytes) -> bytes:
    """The first 51 bytes of the line with chain hash `chain`."""
    return b'{"c":"' + binascii.b2a_base64(chain, newline=False) + b'"'


def chain_text(chain: bytes) -> str:
    """`chain` as it stands in a line."""
    return binascii.b2a_base64(chain, newline=False).decode()


def chain_bytes(text: str) -> bytes:
    """The 32 bytes that `text` of a line stands for."""
    return binascii.a2b_base64(text, strict_mode=True)


def verify_lines(lines: Iterable[bytes], *, after: Cursor) -> Cursor:
    """The cursor behind `lines` (each without its line feed), which must follow `after` without a gap.

    Raises CorruptError at the first line whose position or chain hash is wrong.
    """
    position, chain, offset = after.position, chain_bytes(after.chain), 0
    for line in lines:
        tail = line[HEAD_BYTES:]
        chain = link(chain, tail)
        if line[:HEAD_BYTES] != head(chain):
            raise CorruptError("the given lines", offset, "its chain hash does not fit its bytes", position)
        found = _POSITION.match(tail)
        if found is None or int(found[1]) != position:
            raise CorruptError("the given lines", offset, "it does not state its position", position)
        position += 1
        offset += len(line) + 1
    return Cursor(position=position, chain=chain_text(chain))
