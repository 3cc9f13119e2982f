"""Creating a ledger, and opening one."""

from __future__ import annotations

import fcntl
import os
import re
import warnings
from pathlib import Path

import msgspec

from ledger.chain import chain_bytes
from ledger.clock import Clock, SystemClock
from ledger.codec import Codec
from ledger.disk import Disk, filesystem_type, sync_path
from ledger.errors import CorruptError, LedgerExistsError, NotDurableWarning, TamperedError, write_error
from ledger.events import LEDGER_STREAM, LedgerCreated, created_event
from ledger.layout import Identity, Layout, segment_name
from ledger.lines import build_batch, parse
from ledger.record import Cursor
from ledger.registry import Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings

__all__ = ["check_identity", "create_ledger", "open_ledger"]

_ORIGIN = re.compile(r"[!-*,-~]{1,200}")
_FORGETFUL = frozenset({"tmpfs", "ramfs"})


def create_ledger(
    path: str | os.PathLike[str],
    *,
    origin: str,
    registry: Registry,
    settings: LedgerSettings | None = None,
    clock: Clock | None = None,
) -> FileStore:
    """A new ledger at `path`, open for writing; `origin` is its name for ever, `example.org/team`.

    Raises LedgerExistsError if there is one. A creation that was cut short is done anew.
    """
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError(f"The origin {origin!r} is not made of 1 to 200 printable ASCII characters without space and '+'.")
    layout = Layout(Path(path))
    clock = SystemClock() if clock is None else clock
    try:
        layout.segments.mkdir(parents=True, exist_ok=True)
        lock = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(error, f"The ledger {layout.root}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _create(layout, origin, clock)
    except OSError as error:
        raise write_error(error, f"The ledger {layout.root}") from error
    finally:
        os.close(lock)
    return open_ledger(path, registry=registry, settings=settings, clock=clock)


def open_ledger(
    path: str | os.PathLike[str],
    *,
    registry: Registry,
    write: bool = True,
    settings: LedgerSettings | None = None,
    clock: Clock | None = None,
    disk: Disk | None = None,
) -> FileStore:
    """The ledger at `path`; what a dead writer left unfinished is put right, unless `write` is False.

    Raises NotALedgerError, FormatVersionError, CorruptError or TamperedError.
    """
    layout = Layout(Path(path))
    identity = layout.read_identity()
    check_identity(layout, identity)
    return FileStore(
        layout.root,
        identity.origin,
        registry,
        write=write,
        settings=LedgerSettings() if settings is None else settings,
        clock=SystemClock() if clock is None else clock,
        disk=Disk() if disk is None else disk,
    )


def _create(layout: Layout, origin: str, clock: Clock) -> None:
    """Everything of an empty ledger, `LEDGER.json` last; the lock is held."""
    if layout.identity.exists():
        raise LedgerExistsError(f"{layout.root} already holds a ledger: open it, or choose another folder.")
    first = layout.segment(0)
    if layout.segment(1).exists() or (first.exists() and first.read_bytes().count(b"\n") > 1):
        raise TamperedError(f"{layout.segments} holds records, but LEDGER.json is missing")
    filesystem = filesystem_type(layout.root)
    if filesystem in _FORGETFUL:
        text = f"{layout.root} is on {filesystem}, which forgets everything when the machine stops; choose a folder on a disk."
        warnings.warn(text, NotDurableWarning, stacklevel=4)
    now_ms = clock.now_ms()
    batch = build_batch(
        [Codec(Registry(())).encode(created_event(origin, filesystem))],
        position=0,
        chain=chain_bytes(Cursor.genesis(origin).chain),
        stream=LEDGER_STREAM,
        version=0,
        key=None,
        time_ms=now_ms,
        meta=b"",
    )
    for folder in (layout.blobs / "sha256", layout.blobs / "new"):
        folder.mkdir(parents=True, exist_ok=True)
    sync_path(layout.blobs)
    layout.place_file(first, batch.data)
    layout.place_file(layout.identity, Identity(origin=origin, created_ms=now_ms).to_json().encode())
    sync_path(layout.root.parent)


def check_identity(layout: Layout, identity: Identity) -> None:
    """TamperedError unless `LEDGER.json` says what record 0 says."""
    try:
        with layout.segment(0).open("rb") as stream:
            line = stream.readline()
    except FileNotFoundError as error:
        raise TamperedError(f"segment {segment_name(0)} is missing") from error
    try:
        envelope = parse(line)
        created = msgspec.json.decode(envelope.e, type=LedgerCreated)
    except msgspec.DecodeError as error:
        raise CorruptError(segment_name(0), 0, f"its first line cannot be read ({error})", 0) from error
    if (created.origin, envelope.t) != (identity.origin, identity.created_ms):
        raise TamperedError(f"{layout.identity} says another origin or time than the first record")
