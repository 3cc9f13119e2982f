"""Arguments that name a run, or a run as it was at a position: `latest`, `quickstart@811902`, `@811902~9f2c01ab`."""

from __future__ import annotations

from attrs import frozen

from kd import api
from kd.errors import LinkMismatchError, UsageError
from kd.views.position_link import PositionLink, chain_prefix, format_link, is_link, parse_link
from ledger.record import Record

__all__ = ["Place", "find_place", "find_run_place"]


@frozen(kw_only=True)
class Place:
    """What a link or the name of a run stands for."""

    run: api.Run | None
    """None for a position that belongs to no run."""
    position: int | None
    """None for the ledger's end."""


def find_place(ledger: api.Ledger, text: str, *, at: int | None = None) -> Place:
    """The run that `text` names, and the position that it or `at` names.

    UsageError for a bad link, an unknown run or a position that does not exist; LinkMismatchError if another record is
    there than the link was made of.
    """
    if not is_link(text):
        return Place(run=ledger.run(text), position=at)
    try:
        link = parse_link(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if at is not None and at != link.position:
        raise UsageError(f"{text!r} names position {link.position}, and --at names {at}: give one of them.")
    run = None if link.run is None else ledger.run(link.run)
    record = _checked(ledger, link, text)
    if run is None and record.stream.partition("/")[0] in {"run", "own"}:
        run = ledger.run(record.stream.split("/")[1])
    return Place(run=run, position=link.position)


def find_run_place(ledger: api.Ledger, text: str, *, at: int | None = None) -> tuple[api.Run, int | None]:
    """The same for commands that need a run; UsageError also for a position that belongs to none."""
    place = find_place(ledger, text, at=at)
    if place.run is None:
        raise UsageError(f"The record at {text!r} belongs to no run.", hint="Name the run before the @.")
    return place.run, place.position


def _checked(ledger: api.Ledger, link: PositionLink, text: str) -> Record:
    """The record that the link names."""
    end = ledger.store.end().position
    if link.position >= end:
        raise UsageError(f"There is no position {link.position} in this ledger, expected 0 to {end - 1}.")
    (record,) = ledger.store.scan(start=link.position, stop=link.position + 1)
    if link.chain_prefix not in {None, chain_prefix(record.chain)}:
        found = format_link(link.run, link.position, record.chain)
        raise LinkMismatchError(text, found)
    return record
