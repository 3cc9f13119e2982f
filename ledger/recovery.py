"""What the bytes behind the last complete batch are: nothing, a dead writer's torn tail, or damage.

A torn tail is what a crash can leave: lines of one unfinished batch, then zeros or the start of a line. Nothing that
could have been acknowledged is ever called torn: a terminated line that does not verify, and a whole line whose line
feed was altered, are damage.
"""

from __future__ import annotations

import re

from attrs import frozen

from ledger.chain import HEAD_BYTES, chain_bytes, head, link
from ledger.errors import CorruptError
from ledger.layout import segment_name
from ledger.scanning import Lines, Place, scan_batches

__all__ = ["TornTail", "judge", "num_records_lost"]

_START = re.compile(rb'\{"c":"[A-Za-z0-9+/]{43}="(?:,"q":)?')
_START_BYTES = 56


@frozen(kw_only=True)
class TornTail:
    """Bytes that a dead writer left; no part of them was acknowledged."""

    offset: int
    data: bytes


def judge(rest: bytes, good: Place) -> TornTail | None:
    """What `rest`, the bytes behind the last complete batch at `good`, is; None if it is empty.

    Raises CorruptError if a crash cannot have left it.
    """
    if not rest:
        return None
    found = scan_batches(rest, good)
    if found.damage is not None:
        raise found.damage
    if found.complete:
        raise CorruptError(segment_name(good.segment), good.offset, "whole batches lie where none could be read", good.position)
    fragment = rest[rest.rfind(b"\n") + 1 :]
    _check_fragment(fragment, good, found.unfinished, len(rest) - len(fragment))
    return TornTail(offset=good.offset, data=rest)


def num_records_lost(rest: bytes) -> int:
    """How many records would go with `rest`: its lines, and a last one without its line feed."""
    return rest.count(b"\n") + bool(rest[rest.rfind(b"\n") + 1 :].rstrip(b"\0"))


def _check_fragment(fragment: bytes, good: Place, batch: Lines, num_bytes_before: int) -> None:
    """CorruptError unless an unfinished write can have left `fragment`."""
    written = fragment.rstrip(b"\0")
    if not written:
        return
    chain = chain_bytes(batch[-1][1].c) if batch else good.chain
    position = good.position + len(batch)
    offset = good.offset + num_bytes_before
    if _is_line(fragment[:-1], chain) or (len(written) < len(fragment) and _is_line(written, chain)):
        raise CorruptError(segment_name(good.segment), offset, "the line feed at its end was altered", position)
    if not _agrees(written[:_START_BYTES]):
        raise CorruptError(segment_name(good.segment), offset, "it is not the start of a line", position)


def _is_line(data: bytes, chain: bytes) -> bool:
    return len(data) > HEAD_BYTES and data[:HEAD_BYTES] == head(link(chain, data[HEAD_BYTES:]))


def _agrees(start: bytes) -> bool:
    """Whether `start` is how a line begins, as far as it reaches."""
    model = b'{"c":"' + b"A" * 43 + b'="' + b',"q":'
    return _START.fullmatch(start + model[len(start) :]) is not None
