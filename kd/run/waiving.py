"""Granting a waiver to a run that waits for one, from any process; the run's next owner answers."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from attrs import fields

from kd.errors import UsageError
from kd.governance.machine import DECIDER, book_of, verdict_of
from kd.governance.verdict import Violation
from kd.governance.waiver_acceptance import Judgement, waiver_problems
from kd.governance.waivers import Waiver, make_waiver
from kd.run import commands, machine, states
from kd.run.stages import run_stream, stage_stream
from ledger.decider import fold
from ledger.handle import Live
from ledger.record import Meta
from ledger.segments import FileStore

__all__ = ["grant_waiver", "judgement_of", "limit_text", "parse_end", "parse_limit", "time_text"]

_SPAN = re.compile(r"([0-9]{1,5})\s*([dh])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?Z)?")
_HOUR_MS = 3_600_000
_INCONCLUSIVE = "inconclusive"


def judgement_of(store: FileStore, run: str) -> Judgement | None:
    """The judgement of the run as the ledger holds it; None before there is a verdict."""
    state = fold(DECIDER, (record.event for record in store.read(stage_stream(run, "governance"))))  # type: ignore[misc]  # its stream holds its events alone
    verdict, book = verdict_of(state), book_of(state)
    if verdict is None or book is None:
        return None
    owned = Live(store, run_stream(run), machine.RUN).state
    granted = owned.granted if isinstance(owned, states.Rejected | states.Succeeded) else ()
    return Judgement(verdict=verdict, book=book, unanswered=tuple(waiver for waiver in granted if waiver.id not in book.answered))


def grant_waiver(
    store: FileStore, run: str, waiver: Waiver, *, actor: str, now_ms: int, key: str | None = None, cause: int | None = None
) -> Waiver:
    """Record that `waiver` is granted to the run; the waiver as it is recorded, without secrets.

    CommandRejectedError if the run waits for no waiver, UsageError with all reasons if it would be rejected; then nothing is appended.
    A `key` makes granting twice one request; `cause` is the position that whoever grants it was looking at.
    """
    waiver = _without_secrets(waiver, store)
    live = Live(store, run_stream(run), machine.RUN)
    machine.decide(commands.GrantWaiver(waiver=waiver, now_ms=now_ms), live.state)
    judgement = judgement_of(store, run)
    assert judgement is not None, "a run that was rejected has a verdict"
    problems = waiver_problems(waiver, judgement, now_ms)
    if problems:
        raise UsageError(" ".join(problems), hint="Nothing was recorded.")
    live.handle(commands.GrantWaiver(waiver=waiver, now_ms=now_ms), key=key, meta=Meta(actor=actor, cause=cause))
    return waiver


def parse_end(text: str, now_ms: int) -> int:
    """When a waiver ends, in milliseconds: `3d` and `72h` from now on, a date (its first moment in UTC), or a time that ends in Z.

    Anything else is a ValueError: a time without a zone would be another one elsewhere.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return now_ms + int(span[1]) * (24 if span[2] == "d" else 1) * _HOUR_MS
    try:
        if _DATE.fullmatch(text.strip()) is not None:
            when = datetime.fromisoformat(text.strip())
            return round((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except ValueError:
        pass  # a thirteenth month
    raise ValueError(f"{text!r} is no end of a waiver, expected 3d, 72h, 2030-01-31 or 2030-01-31T12:00:00Z.")


def parse_limit(text: str) -> float | None:
    """The worst accepted value, None for the word `inconclusive`; ValueError for anything else."""
    if text.strip().casefold() == _INCONCLUSIVE:
        return None
    try:
        if math.isfinite(limit := float(text)):
            return limit
    except ValueError:
        pass  # words
    raise ValueError(f"{text!r} is no limit, expected a finite number or the word {_INCONCLUSIVE!r}.")


def limit_text(violation: Violation) -> str:
    """The narrowest limit that covers the violation, as `parse_limit` reads it."""
    return _INCONCLUSIVE if violation.observed is None else repr(violation.observed)


def time_text(time_ms: int) -> str:
    """`2030-01-31T12:00:00Z`."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _without_secrets(waiver: Waiver, store: FileStore) -> Waiver:
    """The waiver as the ledger will hold it: its id is that of the recorded texts."""
    if store.redactor is None:
        return waiver
    content: dict[str, Any] = {attribute.name: getattr(waiver, attribute.name) for attribute in fields(Waiver) if attribute.name != "id"}
    texts = {name: store.redactor.redact_text(value)[0] for name, value in content.items() if isinstance(value, str)}
    return make_waiver(**(content | texts))
