"""The Python API: start runs, steer them, and read them at any position of their ledger.

run = kd.start("configs/quickstart.yaml", ledger="runs")
for event in run.follow():
    ...
summary = run.wait()
"""

from __future__ import annotations

import getpass
import math
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kd.errors import UsageError
from kd.events import REGISTRY
from kd.governance.waiver_acceptance import Judgement
from kd.governance.waivers import Waiver
from kd.keys import key_folder, signer_for
from kd.run import commands, states
from kd.run.config import RunConfig
from kd.run.config_file import load_run_config
from kd.run.control import find_run, request_cancel, request_pause, request_resume, run_ids, scratch_folder
from kd.run.machine import RUN
from kd.run.planning import plan_run
from kd.run.redaction import check_no_secret, redactor_of, redactor_of_run
from kd.run.runner import Runner
from kd.run.waiving import grant_waiver, judgement_of
from kd.views.run_summary import summarise
from kd.views.run_view import RunView, view_runs
from ledger import create_ledger, open_ledger
from ledger.clock import SystemClock
from ledger.errors import LedgerExistsError, NotALedgerError
from ledger.follow import follow
from ledger.ownership import claim, is_owned, wait_for_death
from ledger.record import Cursor, Record
from ledger.segments import FileStore

__all__ = ["Ledger", "Run", "actor", "default_ledger", "ledger_path", "open", "resume", "start"]

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_owners: list[subprocess.Popen[bytes]] = []
"""Owners that this process started; kept so that the system is told when nobody waits for one that ended."""


def start(
    config: str | Path | RunConfig, *, ledger: str | Path | None = None, name: str | None = None, overrides: Sequence[str] = ()
) -> Run:
    """Plan a run and let a process of its own work on it; returns once its start is recorded durably.

    `config` is a YAML file or a RunConfig; `overrides` are texts of the form `a.b=c`. Raises ConfigError with all mistakes.
    """
    return open(ledger, create=True).plan(config, name=name, overrides=overrides).resume()


def resume(run: str, *, ledger: str | Path | None = None, reason: str | None = None) -> Run:
    """Let a process of its own take up the run, for a `reason` that is recorded; returns once that is recorded durably."""
    return open(ledger, write=True).run(run).resume(reason)


def open(ledger: str | Path | None = None, *, write: bool = True, create: bool = False) -> Ledger:
    """The ledger at `ledger`, else at $KD_LEDGER, else at ./.kd/ledger; NotALedgerError if there is none.

    A new ledger gets a key of its own in this person's key folder; one whose key is there is signed as it grows.
    """
    path = default_ledger() if ledger is None else Path(ledger)
    redactor = redactor_of(os.environ)
    if create and not (path / "LEDGER.json").exists():
        new = key_folder(os.environ, ledger=path).create(f"kd.invalid/{secrets.token_hex(16)}")
        try:
            return Ledger(create_ledger(path, origin=new.origin, registry=REGISTRY, redactor=redactor, signer=new), new_vkey=new.vkey)
        except LedgerExistsError:
            pass  # another process was first
    path = ledger_path(path)
    signer = signer_for(key_folder(os.environ, ledger=path), path) if write else None
    return Ledger(open_ledger(path, registry=REGISTRY, write=write, redactor=redactor, signer=signer))


def ledger_path(ledger: str | Path | None = None) -> Path:
    """The folder at `ledger`, else at $KD_LEDGER, else ./.kd/ledger; NotALedgerError if there is none."""
    path = default_ledger() if ledger is None else Path(ledger)
    if not path.exists():
        raise NotALedgerError(f"There is no ledger at {path}: name one with --ledger or $KD_LEDGER, or make one with `kd run`.")
    return path


def default_ledger() -> Path:
    """$KD_LEDGER, or ./.kd/ledger."""
    return Path(os.environ.get("KD_LEDGER") or ".kd/ledger")


def actor() -> str:
    """Who is at the keyboard, as records name them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


class Ledger:
    """A ledger and the runs in it."""

    def __init__(self, store: FileStore, *, new_vkey: str | None = None) -> None:
        self.store = store
        self.new_vkey = new_vkey
        """Public key of a ledger that was just made, to be pinned by whoever will check its proofs."""

    @property
    def path(self) -> Path:
        """The ledger's folder."""
        return self.store.path

    def with_head_over(self, size: int) -> Ledger:
        """This one if a signed head covers its first `size` records, else opened for writing, so that one can be signed."""
        head = self.store.tree_head()
        return self if head is not None and head.size >= size else open(self.path)

    def plan(self, config: str | Path | RunConfig, *, name: str | None = None, overrides: Sequence[str] = ()) -> Run:
        """Record a new run that nobody works on yet."""
        if name is not None:
            overrides = (*overrides, f"name={name}")
        if not isinstance(config, RunConfig):
            config = load_run_config(Path(config), overrides=overrides)
        elif overrides:
            raise UsageError("Overrides go with a configuration file, and this configuration is a RunConfig.", hint="Change the RunConfig.")
        redactor = redactor_of(os.environ, config)
        check_no_secret(config, redactor)
        self.store.redactor = redactor
        run = plan_run(self.store, config, clock=SystemClock(), random_hex=secrets.token_hex(3), actor=actor())
        return Run(self, run)

    def run_ids(self) -> tuple[str, ...]:
        """Ids of all runs, oldest first."""
        return run_ids(self.store)

    def runs(self) -> tuple[Run, ...]:
        """All runs, oldest first."""
        return tuple(Run(self, run) for run in self.run_ids())

    def run(self, text: str) -> Run:
        """The run called `text`: an id, the beginning of one, or `latest`. UsageError if there is none."""
        return Run(self, find_run(self.store, text))

    def views(self) -> dict[str, RunView]:
        """Every run at the ledger's end."""
        return view_runs(self.store.scan(streams="run/*"))

    def time_ms(self, *, at: int | None = None) -> int:
        """When the record at position `at` was appended, of whatever run; now without one. UsageError for no position of the ledger."""
        if at is None:
            return SystemClock().now_ms()
        (record,) = self.store.scan(start=self.existing(at), stop=at + 1)
        return record.time_ms

    def existing(self, position: int) -> int:
        """`position`, if a record of the ledger has it; else UsageError."""
        end = self.store.end().position
        if not 0 <= position < end:
            raise UsageError(f"There is no position {position} in this ledger, expected 0 to {end - 1}.")
        return position

    def is_owned(self, run: str) -> bool:
        """Whether a live process works on the run."""
        return is_owned(self.path, run)


class Run:
    """One run of a ledger."""

    def __init__(self, ledger: Ledger, run: str) -> None:
        self.ledger = ledger
        self.id = run

    def __repr__(self) -> str:
        return f"<Run {self.id} in {self.ledger.path}>"

    def records(self, *, at: int | None = None) -> Iterator[Record]:
        """The run's records of all streams in order, up to and including position `at`.

        A position inside a batch counts as the position before the batch. UsageError for a position that does not exist.
        """
        stop = None if at is None else self.ledger.existing(at) + 1
        for record in self.ledger.store.scan(streams=f"run/{self.id}*", stop=stop):
            if not self.has(record):
                continue
            if at is not None and record.position + record.batch_size - record.batch_index > at:
                return
            yield record

    def view(self, *, at: int | None = None) -> RunView:
        """Everything known of the run at position `at`, or now; folded from the first record."""
        return view_runs(self.records(at=at)).get(self.id) or RunView(id=self.id)

    def state(self, *, at: int | None = None) -> states.RunState:
        """The run's own state at position `at`, or now."""
        return self.view(at=at).run

    def summary(self, *, at: int | None = None) -> dict[str, Any]:
        """The document of `kd show --json`; at a position, as late as its record."""
        is_owned = at is not None or self.ledger.is_owned(self.id)
        return summarise(self.view(at=at), is_owned=is_owned, now_ms=self.ledger.time_ms(at=at))

    def follow_records(self, *, stop: Callable[[], bool] | None = None) -> Iterator[Record]:
        """The run's records from its first, then live until `stop` answers true."""
        store = self.ledger.store
        for record in follow(store, after=Cursor.genesis(store.origin), streams=f"run/{self.id}*", stop=stop):
            if self.has(record):
                yield record

    def follow(self) -> Iterator[object]:
        """The run's typed events from its first, then live until it ends or stops, or its owner dies."""
        return (record.event for record in self.follow_records(stop=lambda: not self.is_at_work()))

    def has(self, record: Record) -> bool:
        """Whether `record` is of this run."""
        return record.stream == f"run/{self.id}" or record.stream.startswith(f"run/{self.id}/")

    def is_at_work(self) -> bool:
        """Whether a live process works on the run."""
        return self.ledger.is_owned(self.id)

    def wait(self, *, timeout_seconds: float = math.inf) -> dict[str, Any]:
        """The summary once no process works on the run any more; TimeoutError if that takes too long."""
        if not wait_for_death(self.ledger.path, self.id, timeout_seconds):
            raise TimeoutError(f"Run {self.id} is still at work after {timeout_seconds:g} s.")
        return self.summary()

    def pause(self, *, reason: str, now: bool = False) -> None:
        """Ask the run's owner to pause; CommandRejectedError or UsageError if there is nothing to pause."""
        self._take_out_secrets()
        request_pause(self.ledger.store, self.id, reason=reason, actor=actor(), is_now=now)

    def cancel(self, *, reason: str, now: bool = False) -> None:
        """Ask the run's owner to end it, or end it here if nobody works on it."""
        self._take_out_secrets()
        request_cancel(self.ledger.store, self.id, reason=reason, actor=actor(), is_now=now)

    def judgement(self) -> Judgement | None:
        """The run's verdict and its waivers, None before there is a verdict."""
        return judgement_of(self.ledger.store, self.id)

    def grant(self, waiver: Waiver) -> Waiver:
        """Record a waiver for the run; its next owner answers and lets it be judged again. The waiver as it is recorded.

        CommandRejectedError if the run waits for no waiver, UsageError with all reasons if the waiver would be rejected.
        """
        self._take_out_secrets()
        return grant_waiver(self.ledger.store, self.id, waiver, actor=actor(), now_ms=SystemClock().now_ms())

    def check_resumable(self) -> None:
        """CommandRejectedError if there is nothing to do for an owner of the run."""
        RUN.decide(commands.StartRun(), self.state())

    def work(self, is_interrupted: Callable[[], bool] = lambda: False, *, reason: str | None = None) -> states.RunState:
        """Own the run and work on it in this process until it ends, fails or is told to stop.

        `is_interrupted` is asked often; once it is true the run pauses. A `reason` is recorded before the run is claimed. Raises
        AlreadyOwnedError if another process works on the run, CommandRejectedError if there is nothing to do.
        """
        self.check_resumable()
        self._take_out_secrets()
        self._request_resume(reason)
        ownership = claim(self.ledger.store, self.id, actor())
        try:
            runner = Runner(
                self.ledger.store,
                self.id,
                ownership,
                scratch=scratch_folder(self.ledger.path, self.id),
                clock=SystemClock(),
                is_interrupted=is_interrupted,
            )
            runner.start()
            return runner.drive()
        finally:
            ownership.release()

    def resume(self, reason: str | None = None) -> Run:
        """Let a process of its own work on the run, for a `reason` that is recorded first; returns once its start is recorded durably.

        What the process prints goes to `work/<run>.log` in the ledger's folder.
        """
        self.check_resumable()
        if reason is not None:
            self._take_out_secrets()
            self._request_resume(reason)
        before = self.ledger.store.end().position
        log = scratch_folder(self.ledger.path, self.id).with_name(f"{self.id}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kd", "resume", self.id, "--ledger", str(self.ledger.path)]
        with log.open("wb") as output:
            owner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        _owners[:] = [*(other for other in _owners if other.poll() is None), owner]
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_begun(since=before):
            if owner.poll() is not None and not self._has_begun(since=before):
                raise UsageError(f"The process for run {self.id} ended before it began: {log.read_text(errors='replace').strip()[-400:]}")
            if time.monotonic() > deadline:
                raise UsageError(f"The process for run {self.id} has not begun after {_START_SECONDS:.0f} s: see {log}.")
            time.sleep(_POLL_SECONDS)
        return self

    def _request_resume(self, reason: str | None) -> None:
        if reason is not None:
            request_resume(self.ledger.store, self.id, reason=reason, actor=actor())

    def _take_out_secrets(self) -> None:
        """Keep out of the ledger also what the run's own configuration names."""
        self.ledger.store.redactor = redactor_of_run(os.environ, self.ledger.store, self.id)

    def _has_begun(self, *, since: int) -> bool:
        names = ("run.started", "run.resumed", "run.cancelled")
        return any(record.name in names for record in self.ledger.store.scan(start=since, streams=f"run/{self.id}"))
