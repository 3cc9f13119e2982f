"""`kd runs`, `show`, `events`, `replay`: reading what happened, at any position."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from kd import api
from kd.cli.exit_codes import DONE
from kd.cli.links import Place, find_place, find_run_place
from kd.cli.options import JsonFlag, LedgerPath, RunName
from kd.cli.outcome import print_summary
from kd.cli.screen import is_read, print_document, print_line, print_record_line, print_table
from kd.errors import UsageError
from kd.events import REGISTRY
from kd.views.run_summary import run_row
from kd.views.state_digest import state_digest
from kd.views.timeline import describe, is_transition
from kd.views.waiver_table import verdict_words
from ledger.clock import SystemClock
from ledger.follow import follow
from ledger.record import Cursor, Record

__all__ = ["At", "events", "replay", "runs", "show"]

At = Annotated[int | None, Parameter(name="--at", help="A position in the ledger; without it, the end.")]


def runs(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """List the runs of a ledger, oldest first."""
    opened = api.open(ledger, write=False)
    now_ms = SystemClock().now_ms()
    rows = [run_row(view, is_owned=opened.is_owned(view.id), now_ms=now_ms) for view in opened.views().values()]
    if json:
        print_document(rows)
    elif rows:
        told = [row if row["valid_until_ms"] is None else {**row, "verdict": _verdict(row, now_ms)} for row in rows]
        print_table(told, ("id", "state", "stage", "verdict", "seconds", "last_seq"))
    else:
        print_line(f"There are no runs in {opened.path}. Start one with: kd run CONFIG")
    return DONE


def show(run: RunName, *, at: At = None, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Show a run: its stages, measurements, gates and artifacts, now or at a position."""
    found, position = find_run_place(api.open(ledger, write=False), run, at=at)
    summary = found.summary(at=position)
    if json:
        print_document(summary)
    else:
        print_summary(summary)
    return DONE


def events(
    run: Annotated[
        str | None, Parameter(help="A run's id, the beginning of one, `latest`, or a link, which ends there; without it, the whole ledger.")
    ] = None,
    *,
    follow_: Annotated[bool, Parameter(name="--follow", negative="", help="Go on with what happens next, until Ctrl-C.")] = False,
    type_: Annotated[str, Parameter(name="--type", help="Only events whose name matches, such as 'training.*'.")] = "*",
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Print events in order, one a line."""
    opened = api.open(ledger, write=False)
    place = Place(run=None, position=None) if run is None else find_place(opened, run)
    found = place.run
    streams = "*" if found is None else f"run/{found.id}*"
    if follow_ and place.position is not None:
        raise UsageError(f"{run!r} ends at position {place.position}, so there is nothing to follow: leave out --follow or the position.")
    if follow_:
        records = follow(opened.store, after=Cursor.genesis(opened.store.origin), streams=streams, names=type_)
    else:
        stop = None if place.position is None else place.position + 1
        records = opened.store.scan(stop=stop, streams=streams, names=type_)
    for record in records:
        if found is None or found.has(record):
            if json:
                print_record_line(_document(record))
            else:
                print_line(describe(record))
        if not is_read():
            break
    return DONE


def replay(run: RunName, *, at: At = None, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Fold a run again from its first event, print each transition, and the digest of every state reached."""
    found, position = find_run_place(api.open(ledger, write=False), run, at=at)
    if not json:
        for record in found.records(at=position):
            if is_transition(record, REGISTRY):
                print_line(describe(record))
    view = found.view(at=position)
    streams = {f"run/{found.id}": view.run} | {f"run/{found.id}/{name}": state for name, state in view.stages.items()}
    rows = [{"stream": stream, "state": type(state).__name__, "digest": state_digest(state)} for stream, state in streams.items()]
    if json:
        print_document({"id": found.id, "at": view.last_position, "num_records": view.num_records, "streams": rows})
    else:
        print_line(f"{view.num_records} events up to position {view.last_position}:")
        print_table(rows, ("stream", "state", "digest"))
    return DONE


def _verdict(row: dict[str, Any], now_ms: int) -> str | None:
    """An approval with an end, in words."""
    return verdict_words(row["verdict"], row["valid_until_ms"], now_ms)


def _document(record: Record) -> dict[str, Any]:
    """The stored line as JSON, with its short field names written out."""
    stored = msgspec.json.decode(record.line)
    return {
        "seq": record.position,
        "time_ms": record.time_ms,
        "stream": record.stream,
        "version": record.version,
        "name": record.name,
        "event_version": record.event_version,
        "actor": record.meta.actor,
        "event": stored["e"],
    }
