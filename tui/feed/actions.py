"""Asking a run's owner for something, as a record; and following what becomes of it.

A request is appended once, whatever happens to the keyboard: its key is made when its dialog opens.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing

from attrs import evolve as replace
from attrs import frozen
from textual.message import Message

from kd.errors import KdError
from kd.governance.events import WaiverAccepted, WaiverRejected
from kd.run import events as ev
from kd.run.control import request_cancel, request_pause, request_resume
from kd.run.redaction import redacting_as, redactor_of
from kd.run.stages import run_stream
from kd.run.waiving import grant_waiver
from kd.views.safe_text import SafeText, safe_lines, safe_text
from ledger.clock import Clock
from ledger.errors import AlreadyOwnedError, LedgerError
from ledger.ownership import is_owned
from ledger.record import Cursor, Record
from ledger.segments import FileStore
from tui.feed.wishes import Launch, Request, ResumeRequest, WaiverRequest, Wish
from tui.messages import RequestAnswered

__all__ = [
    "Actions",
    "Appended",
    "Asked",
    "Outcome",
    "describe_state",
    "read_answer",
    "state_lines",
]

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PATIENT_POLL_SECONDS = 0.5
_LEAVE_SECONDS = 2.0


@frozen
class Asked:
    """It is being appended, or the process is being started."""


@frozen
class Appended:
    """It is durable at this position; the owner has not answered yet."""

    position: int


@frozen(kw_only=True)
class Outcome:
    """The end of it."""

    is_good: bool
    sentence: str
    position: int | None = None
    """Of the answer."""
    may_try_again: bool = False
    """Nothing is known to have been appended; if it was after all, its key keeps a second try from doing it twice."""


class Actions:
    """Sends requests and starts processes, each in a thread of its own; `store` is open for writing."""

    def __init__(self, store: FileStore, clock: Clock, post: Callable[[Message], object]) -> None:
        self._store = store
        self._clock = clock
        self._post = post
        self._states: list[Asked | Appended | Outcome] = []
        self._mutex = threading.Lock()
        self._appending = threading.Lock()
        self._is_over = threading.Event()
        self._watchers: list[threading.Thread] = []
        self._starts: dict[str, Cursor] = {}
        """Where the ledger ended when a request was first sent, by its key."""

    def close(self) -> None:
        """Wait for no more answers; nothing reads the ledger for one on return, but what hangs in an append."""
        self._is_over.set()
        for watcher in self._watchers:
            watcher.join(_LEAVE_SECONDS)

    def send(self, wish: Wish) -> int:
        """Begin; the number under which `state` tells how it goes, with RequestAnswered posted at each change."""
        with self._mutex:
            self._states.append(Asked())
            number = len(self._states) - 1
        thread = threading.Thread(target=self._guarded, args=(number, wish), name=f"request-{number}", daemon=True)
        if not isinstance(wish, Launch):
            self._watchers.append(thread)
        thread.start()
        return number

    def state(self, number: int) -> Asked | Appended | Outcome:
        """How request `number` fares."""
        return self._states[number]

    def _guarded(self, number: int, wish: Wish) -> None:
        try:
            if isinstance(wish, Launch):
                self._say(number, _started(wish))
            else:
                self._request(number, wish)
        except AlreadyOwnedError as error:
            self._fail(number, wish, f"another process resumed it. {error}")
        except (LedgerError, KdError) as error:
            self._fail(number, wish, f"{error} {getattr(error, 'hint', '')}".strip())
        except OSError as error:
            self._fail(number, wish, f"It could not be done: {error}")
        except Exception as error:  # whatever it is, whoever asked must hear of it
            about = f"{type(error).__name__}: {error}".removesuffix(": ")
            hint = "" if wish.run is None else f" Look at its records with: kd audit {wish.run}"
            self._fail(number, wish, f"It could not be done, for a reason that nobody foresaw ({about}).{hint}")

    def _fail(self, number: int, wish: Wish, sentence: str) -> None:
        may_try_again = isinstance(self._states[number], Asked) and not isinstance(wish, Launch)
        self._say(number, Outcome(is_good=False, sentence=sentence, may_try_again=may_try_again))

    def _request(self, number: int, wish: Request | ResumeRequest | WaiverRequest) -> None:
        """Append it; then its answer is told whenever an owner gives it, be it long after the dialog has gone."""
        after = self._starts.setdefault(wish.key, self._store.end())
        with self._appending, redacting_as(os.environ, self._store, wish.run):
            self._append(wish)
        stages = "*" if isinstance(wish, WaiverRequest) else ""
        with closing(self._store.tail(after, streams=f"{run_stream(wish.run)}{stages}")) as tail:
            request: Record | None = None
            deadline, is_told = time.monotonic() + _ANSWER_SECONDS, False
            while not self._is_over.wait(_PATIENT_POLL_SECONDS if is_told else _POLL_SECONDS):
                has_no_owner = request is not None and not is_owned(self._store.path, wish.run)
                for record in tail.read():
                    if record.key == wish.key:
                        request = record
                        self._say(number, Appended(record.position))
                        if isinstance(wish, ResumeRequest):
                            started = _started(wish)
                            if not started.is_good:
                                self._say(number, started)
                                return
                            deadline = time.monotonic() + _ANSWER_SECONDS
                    outcome = read_answer(request, record)
                    if outcome is not None:
                        self._say(number, outcome)
                        return
                if not is_told and (has_no_owner or time.monotonic() > deadline):
                    is_told = True
                    self._say(number, _unanswered(wish, has_no_owner=has_no_owner))

    def _append(self, wish: Request | ResumeRequest | WaiverRequest) -> None:
        store, run, actor, key, cause = self._store, wish.run, wish.actor, wish.key, wish.seen
        if isinstance(wish, WaiverRequest):
            grant_waiver(store, run, wish.waiver, actor=actor, now_ms=self._clock.now_ms(), key=key, cause=cause)
        elif isinstance(wish, ResumeRequest):
            request_resume(store, run, reason=wish.reason, actor=actor, key=key, cause=cause)
        else:
            ask = request_pause if wish.kind == "pause" else request_cancel
            ask(store, run, reason=wish.reason, actor=actor, is_now=wish.is_now, key=key, cause=cause)

    def _say(self, number: int, state: Appended | Outcome) -> None:
        before = self._states[number]
        if isinstance(state, Outcome) and isinstance(before, Appended):
            state = replace(state, sentence=f"appended @{before.position:,}; {state.sentence}")
        self._states[number] = state
        self._post(RequestAnswered(number))


def read_answer(request: Record | None, record: Record) -> Outcome | None:
    """What `record` says about the request, None if it answers another one or none at all.

    An answer names its request as its cause, or is of its batch. One without a cause is that of an older owner: a run has one open
    request at a time, so the next answer is to that.
    """
    if request is None:
        is_gone = isinstance(record.event, ev.RunCancelled)  # by what a dead owner had left unanswered, before it could be asked again
        return Outcome(is_good=True, sentence="the run is cancelled", position=record.position) if is_gone else None
    if isinstance(request.event, ev.ResumeRequested):
        return _read_start(request, record)
    is_of_batch = request.position < record.position < request.position + request.batch_size
    if record.meta.cause not in {request.position, None} and not is_of_batch:
        return None
    seconds = max(record.time_ms - request.time_ms, 0) / 1000
    match request.event, record.event:
        case (ev.PauseRequested(), ev.PauseAccepted()) | (ev.CancelRequested(), ev.CancelAccepted()):
            return Outcome(is_good=True, sentence=f"ACCEPTED after {seconds:.1f} s", position=record.position)
        case (ev.PauseRequested(), ev.PauseRejected(reason=reason)) | (ev.CancelRequested(), ev.CancelRejected(reason=reason)):
            return Outcome(is_good=False, sentence=f"REJECTED: {reason}", position=record.position)
        case ev.WaiverGranted(), WaiverAccepted() if record.meta.cause is not None:
            return Outcome(is_good=True, sentence=f"waiver ACCEPTED after {seconds:.1f} s", position=record.position)
        case ev.WaiverGranted(), WaiverRejected(reason=reason) if record.meta.cause is not None:
            return Outcome(is_good=False, sentence=f"waiver REJECTED: {reason}", position=record.position)
        case _:
            return None


def _read_start(request: Record, record: Record) -> Outcome | None:
    """Whoever takes the run up answers; what had been asked before may be the cause of that too."""
    match record.event:
        case ev.RunStarted() | ev.RunResumed():
            seconds = max(record.time_ms - request.time_ms, 0) / 1000
            return Outcome(is_good=True, sentence=f"RESUMED after {seconds:.1f} s", position=record.position)
        case ev.RunCancelled(reason=reason):
            return Outcome(is_good=False, sentence=f"CANCELLED, as was asked before: {reason}", position=record.position)
        case _:
            return None


def _started(wish: Launch | ResumeRequest) -> Outcome:
    """What the process said that it asks for, which ends once the work has begun in another one."""
    finished = subprocess.run(
        wish.command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, start_new_session=True
    )
    printed = (finished.stdout if finished.returncode == 0 else finished.stderr or finished.stdout).strip()
    said = redactor_of(os.environ).redact_text(printed)[0]
    if "another process" in said.casefold() and finished.returncode != 0:
        said = f"another process resumed it. {said}"
    return Outcome(is_good=finished.returncode == 0, sentence=said or f"exit code {finished.returncode}")


def _unanswered(wish: Request | ResumeRequest | WaiverRequest, *, has_no_owner: bool) -> Outcome:
    if has_no_owner:
        said = "no owner: R resumes the run, which answers."
    elif isinstance(wish, WaiverRequest):
        said = "nobody has answered for 10 s: R resumes the run, which answers."
    else:
        said = "nobody has answered for 10 s; the request stays, and is answered when an owner sees it."
    return Outcome(is_good=isinstance(wish, WaiverRequest), sentence=said)


def describe_state(state: Asked | Appended | Outcome) -> SafeText:
    """How it fares, in one line: the first one of all that is said."""
    return state_lines(state)[0]


def state_lines(state: Asked | Appended | Outcome) -> tuple[SafeText, ...]:
    """How it fares."""
    match state:
        case Asked():
            return (safe_text("waiting"),)
        case Appended(position):
            return (safe_text(f"appended @{position:,}; waiting for the owner's answer"),)
        case Outcome(sentence=sentence, position=position):
            return safe_lines(sentence if position is None else f"{sentence} @{position:,}")
