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
from kd.run.control import request_cancel, request_pause
from kd.run.redaction import redacting_as
from kd.run.stages import run_stream
from kd.run.waiving import grant_waiver
from kd.views.safe_text import SafeText, safe_text
from ledger.clock import Clock
from ledger.errors import LedgerError
from ledger.ownership import is_owned
from ledger.record import Record
from ledger.segments import FileStore
from tui.feed.wishes import Launch, Request, WaiverRequest, Wish
from tui.messages import RequestAnswered

__all__ = [
    "Actions",
    "Appended",
    "Asked",
    "Outcome",
    "describe_state",
]

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PATIENT_POLL_SECONDS = 0.5
_ANSWERS = {
    "pause": ("run.pause_accepted", "run.paused"),
    "cancel": ("run.cancel_accepted", "run.cancelled"),
    "resume": ("run.resumed", "run.started"),
}
_REFUSALS = {"pause": ("run.pause_rejected",), "cancel": ("run.cancel_rejected",), "resume": ()}


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

    def close(self) -> None:
        """Wait for no more answers to waivers; nothing reads the ledger for one on return."""
        self._is_over.set()
        for watcher in self._watchers:
            watcher.join()

    def send(self, wish: Wish) -> int:
        """Begin; the number under which `state` tells how it goes, with RequestAnswered posted at each change."""
        with self._mutex:
            self._states.append(Asked())
            number = len(self._states) - 1
        work = self._launch if isinstance(wish, Launch) else self._waive if isinstance(wish, WaiverRequest) else self._request
        thread = threading.Thread(target=self._guarded, args=(work, number, wish), name=f"request-{number}", daemon=True)
        if isinstance(wish, WaiverRequest):
            self._watchers.append(thread)
        thread.start()
        return number

    def state(self, number: int) -> Asked | Appended | Outcome:
        """How request `number` fares."""
        return self._states[number]

    def _guarded(self, work: Callable[[int, Wish], None], number: int, wish: Wish) -> None:
        try:
            work(number, wish)
        except (LedgerError, KdError) as error:
            hint = getattr(error, "hint", "")
            self._say(number, Outcome(is_good=False, sentence=f"{error} {hint}".strip()))
        except OSError as error:
            self._say(number, Outcome(is_good=False, sentence=f"It could not be done: {error}"))
        except Exception as error:  # whatever it is, whoever asked must hear of it
            about = f"{type(error).__name__}: {error}".removesuffix(": ")
            hint = "" if wish.run is None else f" Look at its records with: kd audit {wish.run}"
            self._say(number, Outcome(is_good=False, sentence=f"It could not be done, for a reason that nobody foresaw ({about}).{hint}"))

    def _request(self, number: int, wish: Wish) -> None:
        assert isinstance(wish, Request)
        after = self._store.end()
        ask = request_pause if wish.kind == "pause" else request_cancel
        with self._appending, redacting_as(os.environ, self._store, wish.run):
            ask(self._store, wish.run, reason=wish.reason, actor=wish.actor, is_now=wish.is_now, key=wish.key, cause=wish.seen)
        began_ms = self._clock.now_ms()
        with closing(self._store.tail(after, streams=run_stream(wish.run))) as tail:
            deadline = time.monotonic() + _ANSWER_SECONDS
            while time.monotonic() < deadline:
                for record in tail.read():
                    outcome = self._read_answer(number, wish, record, began_ms)
                    if outcome is not None:
                        self._say(number, outcome)
                        return
                time.sleep(_POLL_SECONDS)
        said = "nobody has answered for 10 s; the request stays, and is answered when an owner sees it."
        self._say(number, Outcome(is_good=False, sentence=said))

    def _read_answer(self, number: int, wish: Request, record: Record, began_ms: int) -> Outcome | None:
        if record.key == wish.key or isinstance(record.event, ev.PauseRequested | ev.CancelRequested):
            self._say(number, Appended(record.position))
            began_ms = record.time_ms
        seconds = max(record.time_ms - began_ms, 0) / 1000
        if record.name in _ANSWERS[wish.kind]:
            return Outcome(is_good=True, sentence=f"ACCEPTED after {seconds:.1f} s", position=record.position)
        if record.name in _REFUSALS[wish.kind]:
            reason = getattr(record.event, "reason", "")
            return Outcome(is_good=False, sentence=f"REJECTED: {reason}", position=record.position)
        return None

    def _waive(self, number: int, wish: Wish) -> None:
        """Append the waiver; then its answer is told whenever an owner gives it, be it long after the dialog has gone."""
        assert isinstance(wish, WaiverRequest)
        after = self._store.end()
        with self._appending, redacting_as(os.environ, self._store, wish.run):
            grant_waiver(self._store, wish.run, wish.waiver, actor=wish.actor, now_ms=self._clock.now_ms(), key=wish.key, cause=wish.seen)
        with closing(self._store.tail(after, streams=f"{run_stream(wish.run)}*")) as tail:
            request: Record | None = None
            deadline, is_told = time.monotonic() + _ANSWER_SECONDS, False
            while not self._is_over.wait(_PATIENT_POLL_SECONDS if is_told else _POLL_SECONDS):
                for record in tail.read():
                    if record.key == wish.key:
                        request = record
                        self._say(number, Appended(record.position))
                    elif request is not None and record.meta.cause == request.position:
                        outcome = _waiver_answer(request, record)
                        if outcome is not None:
                            self._say(number, outcome)
                            return
                has_no_owner = request is not None and not is_owned(self._store.path, wish.run)
                if not is_told and (has_no_owner or time.monotonic() > deadline):
                    is_told = True
                    why = "no owner" if has_no_owner else "nobody has answered for 10 s"
                    self._say(number, Outcome(is_good=True, sentence=f"{why}: R resumes the run, which answers."))

    def _launch(self, number: int, wish: Wish) -> None:
        assert isinstance(wish, Launch)
        finished = subprocess.run(
            wish.command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, start_new_session=True
        )
        said = (finished.stdout if finished.returncode == 0 else finished.stderr or finished.stdout).strip()
        if "another process" in said.casefold() and finished.returncode != 0:
            said = f"another process resumed it. {said}"
        self._say(number, Outcome(is_good=finished.returncode == 0, sentence=said or f"exit code {finished.returncode}"))

    def _say(self, number: int, state: Appended | Outcome) -> None:
        before = self._states[number]
        if isinstance(state, Outcome) and isinstance(before, Appended):
            state = replace(state, sentence=f"appended @{before.position:,}; {state.sentence}")
        self._states[number] = state
        self._post(RequestAnswered(number))


def _waiver_answer(request: Record, record: Record) -> Outcome | None:
    seconds = max(record.time_ms - request.time_ms, 0) / 1000
    match record.event:
        case WaiverAccepted():
            return Outcome(is_good=True, sentence=f"waiver ACCEPTED after {seconds:.1f} s", position=record.position)
        case WaiverRejected(reason=reason):
            return Outcome(is_good=False, sentence=f"waiver REJECTED: {reason}", position=record.position)
        case _:
            return None


def describe_state(state: Asked | Appended | Outcome) -> SafeText:
    """How it fares, in one line."""
    match state:
        case Asked():
            return safe_text("waiting")
        case Appended(position):
            return safe_text(f"appended @{position:,}; waiting for the owner's answer")
        case Outcome(sentence=sentence, position=position):
            return safe_text(sentence if position is None else f"{sentence} @{position:,}")
