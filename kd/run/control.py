"""Finding, pausing and cancelling runs, from any process and without loading what a stage needs."""

from __future__ import annotations

import difflib
from pathlib import Path

from kd.errors import UsageError
from kd.run import commands, machine, states
from kd.run.owned_run import OwnedRun
from kd.run.stages import run_stream
from ledger.disk import lock_holder
from ledger.errors import AlreadyOwnedError
from ledger.handle import Live
from ledger.layout import Layout
from ledger.ownership import claim, is_owned
from ledger.record import Meta
from ledger.segments import FileStore

__all__ = ["find_run", "request_cancel", "request_pause", "request_resume", "run_ids", "scratch_folder"]


_AT_WORK = (states.Running, states.Pausing, states.Cancelling)
"""States in which a live owner is expected."""


def run_ids(store: FileStore) -> tuple[str, ...]:
    """All runs of the ledger, oldest first."""
    return tuple(record.stream.removeprefix("run/") for record in store.scan(streams="run/*", names="run.planned"))


def find_run(store: FileStore, text: str) -> str:
    """The run called `text`: its id, the unambiguous beginning of one, or `latest`. UsageError otherwise.

    A whole id is known at once; for anything else all records are looked at.
    """
    if "/" not in text and store.version(run_stream(text)):
        return text
    runs = run_ids(store)
    if text == "latest" and runs:
        return runs[-1]
    matches = [run for run in runs if run.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"{text!r} is the beginning of {len(matches)} runs: {', '.join(matches)}.", hint="Give more of the id, or 'latest'."
        )
    close = difflib.get_close_matches(text, runs, n=1)
    raise UsageError(f"There is no run {text!r} in this ledger.", hint=f"Did you mean {close[0]!r}?" if close else "See `kd runs`.")


def request_pause(
    store: FileStore, run: str, *, reason: str, actor: str, is_now: bool, key: str | None = None, cause: int | None = None
) -> states.RunState:
    """Ask the run's owner to stop at the next safe point; UsageError if nobody works on the run.

    A `key` makes asking twice one request; `cause` is the position that whoever asks was looking at.
    """
    live = Live(store, run_stream(run), machine.RUN)
    if isinstance(live.state, _AT_WORK) and not is_owned(store.path, run):
        raise UsageError(
            f"Run {run!r} is interrupted: nobody works on it, so there is nothing to pause.", hint=f"Go on with: kd resume {run}"
        )
    return live.handle(commands.RequestPause(reason=reason, is_now=is_now), key=key, meta=Meta(actor=actor, cause=cause))


def request_cancel(
    store: FileStore, run: str, *, reason: str, actor: str, is_now: bool, key: str | None = None, cause: int | None = None
) -> states.RunState:
    """Ask the run's owner to end it; a run that nobody works on is cancelled here. `key` and `cause` as for `request_pause`."""
    meta = Meta(actor=actor, cause=cause)
    if is_owned(store.path, run):
        return Live(store, run_stream(run), machine.RUN).handle(commands.RequestCancel(reason=reason, is_now=is_now), key=key, meta=meta)
    ownership = claim(store, run, actor)
    try:
        live = OwnedRun(store, run, (ownership.guard,))
        if isinstance(live.state, _AT_WORK):
            live.handle(commands.StartRun())  # answers what the dead owner left unanswered, a cancellation included
        if not isinstance(live.state, states.Cancelled):
            live.handle(commands.RequestCancel(reason=reason, is_now=is_now), key=key, meta=meta)
        if isinstance(live.state, states.Running):
            live.handle(commands.AnswerRequest())
            live.handle(commands.StopRun())
        return live.state
    finally:
        ownership.release()


def request_resume(
    store: FileStore, run: str, *, reason: str, actor: str, key: str | None = None, cause: int | None = None
) -> states.RunState:
    """Record why the run is to be taken up again; whoever starts its next owner does that apart. `key` and `cause` as for `request_pause`.

    CommandRejectedError if there is nothing to do for an owner, AlreadyOwnedError if a live process works on the run.
    """
    if is_owned(store.path, run):
        raise AlreadyOwnedError(run, lock_holder(Layout(store.path).owner_lock(run)))
    live = Live(store, run_stream(run), machine.RUN)
    return live.handle(commands.RequestResume(reason=reason), key=key, meta=Meta(actor=actor, cause=cause))


def scratch_folder(ledger: Path, run: str) -> Path:
    """Where the run's files under construction lie: beside the ledger's own files, on the same file system."""
    return ledger / "work" / run
