"""What a person wants of a run or its owner, and what exactly it comes to: a record, or a process."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Literal

from attrs import frozen

from kd.events import REGISTRY
from kd.governance.waivers import Waiver
from kd.run import events as ev
from kd.run import states
from kd.run.redaction import redactor_of
from kd.run.stages import run_stream
from kd.views.run_view import RunView
from ledger.codec import Codec
from ledger.preparation import prepare
from ledger.record import BlobRef, Meta
from ledger.redaction import Redactor
from ledger.settings import LedgerSettings

__all__ = [
    "Launch",
    "Request",
    "ResumeRequest",
    "WaiverRequest",
    "Wish",
    "redactor_of_view",
    "resume_command",
    "start_command",
]


@frozen(kw_only=True)
class Request:
    """What a person wants of a run's owner."""

    kind: Literal["pause", "cancel"]
    run: str
    reason: str
    is_now: bool
    actor: str
    seen: int
    """Position that the person looked at."""
    key: str

    def event(self) -> ev.PauseRequested | ev.CancelRequested:
        """What will be appended to the run's stream."""
        cls = ev.PauseRequested if self.kind == "pause" else ev.CancelRequested
        return cls(reason=self.reason, is_now=self.is_now)

    def preview(self, redactor: Redactor) -> str:
        """The record as it will stand under this redactor, but for what the ledger adds: position,
        version, time and chain hash, and the fence of whoever cancels a run without an owner.

        LedgerError if it cannot be appended.
        """
        return _preview(self, redactor)


@frozen(kw_only=True)
class ResumeRequest:
    """That a run is to be taken up again, by a process which is started once this is recorded."""

    run: str
    reason: str
    actor: str
    seen: int
    """Position that the person looked at."""
    key: str
    command: tuple[str, ...]

    def event(self) -> ev.ResumeRequested:
        """What will be appended to the run's stream."""
        return ev.ResumeRequested(reason=self.reason)

    def preview(self, redactor: Redactor) -> str:
        """As that of `Request`."""
        return _preview(self, redactor)


@frozen(kw_only=True)
class WaiverRequest:
    """A waiver that a person grants to a run; who takes up the run answers."""

    run: str
    waiver: Waiver
    actor: str
    seen: int
    """Position that the person looked at."""
    key: str

    def event(self) -> ev.WaiverGranted:
        """What will be appended to the run's stream."""
        return ev.WaiverGranted(waiver=self.waiver)

    def preview(self, redactor: Redactor) -> str:
        """As that of `Request`."""
        return _preview(self, redactor)


@frozen(kw_only=True)
class Launch:
    """A process that is to be started."""

    run: None = None
    """It makes a new one."""
    command: tuple[str, ...]


Wish = Request | ResumeRequest | WaiverRequest | Launch


def redactor_of_view(view: RunView | None) -> Redactor:
    """What takes secrets out of all that is recorded in the run: the rules of its own configuration, with the secrets of this process."""
    known = None if view is None else view.run
    return redactor_of(os.environ, known.plan.config if isinstance(known, states.Known) else None)


def resume_command(run: str, ledger: Path) -> tuple[str, ...]:
    """The command line of a new owner for `run`."""
    return (sys.executable, "-m", "kd", "resume", run, "--ledger", str(ledger), "--detach")


def start_command(config: str, ledger: Path) -> tuple[str, ...]:
    """The command line of a new run of the configuration file `config`."""
    return (sys.executable, "-m", "kd", "run", config, "--ledger", str(ledger), "--detach")


def _preview(wish: Request | ResumeRequest | WaiverRequest, redactor: Redactor) -> str:
    stream, meta = run_stream(wish.run), Meta(actor=wish.actor, cause=wish.seen)
    codec, settings = Codec(REGISTRY), LedgerSettings()
    ready = prepare(codec, settings, _ref, stream, [wish.event()], key=wish.key, guards=(), meta=meta, durability=None, redactor=redactor)
    (event,) = ready.events
    head = f'"s":"{stream}","k":"{wish.key}","y":"{event.entry.name}/{event.entry.version}"'
    return head + (ready.meta if event.meta is None else event.meta).decode() + ',"e":' + event.payload.decode()


def _ref(data: bytes) -> BlobRef:
    return BlobRef(sha256=sha256(data).hexdigest(), num_bytes=len(data))
