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
from ledger.disk import Disk, sync_path
from ledger.errors import CorruptError, KeyFileError, LedgerExistsError, NotDurableWarning, TamperedError, write_error
from ledger.events import LEDGER_STREAM, LedgerCreated, created_event
from ledger.filesystems import check_filesystem, judge_filesystem
from ledger.layout import Identity, Layout, segment_name
from ledger.lines import build_batch, parse
from ledger.record import Cursor
from ledger.redaction import Redactor
from ledger.registry import Registry
from ledger.segments import FileStore
from ledger.settings import LedgerSettings
from ledger.tree_head import Signer

__all__ = ["check_identity", "create_ledger", "open_ledger", "recorded_identity"]

_ORIGIN = re.compile(r"[!-*,-~]{1,200}")


def create_ledger(
    path: str | os.PathLike[str],
    *,
    origin: str,
    registry: Registry,
    signer: Signer | None = None,
    redactor: Redactor | None = None,
    settings: LedgerSettings | None = None,
    clock: Clock | None = None,
    disk: Disk | None = None,
    unsafe_filesystem: bool = False,
) -> FileStore:
    """A new ledger at `path`, open for writing; `origin` is its name for ever, `example.org/team`.

    Raises LedgerExistsError if there is one, and UnsupportedFilesystemError where locks or syncs may not hold:
    `unsafe_filesystem` takes such a place if it passes a test. `signer` signs its tree heads. A creation that was cut short
    is done anew.
    """
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError(f"The origin {origin!r} is not made of 1 to 200 printable ASCII characters without space and '+'.")
    if signer is not None and signer.origin != origin:
        raise KeyFileError(f"The key is for {signer.origin}, but the ledger is {origin}: give a key that was made for it.")
    layout = Layout(Path(path))
    clock = SystemClock() if clock is None else clock
    disk = Disk() if disk is None else disk
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        filesystem = check_filesystem(layout.root, disk, is_unsafe_allowed=unsafe_filesystem)
        layout.segments.mkdir(parents=True, exist_ok=True)
        lock = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(error, f"The ledger {layout.root}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _create(layout, origin, None if signer is None else signer.vkey, clock, *filesystem)
    except OSError as error:
        raise write_error(error, f"The ledger {layout.root}") from error
    finally:
        os.close(lock)
    return open_ledger(
        path,
        registry=registry,
        redactor=redactor,
        signer=signer,
        settings=settings,
        clock=clock,
        disk=disk,
        unsafe_filesystem=unsafe_filesystem,
    )


def open_ledger(
    path: str | os.PathLike[str],
    *,
    registry: Registry,
    write: bool = True,
    redactor: Redactor | None = None,
    signer: Signer | None = None,
    settings: LedgerSettings | None = None,
    clock: Clock | None = None,
    disk: Disk | None = None,
    unsafe_filesystem: bool = False,
) -> FileStore:
    """The ledger at `path`; what a dead writer left unfinished is put right, unless `write` is False.

    `redactor` takes secrets out of everything that is appended; `signer` signs tree heads. Raises NotALedgerError,
    FormatVersionError, CorruptError, TamperedError or KeyFileError, and for writing UnsupportedFilesystemError, as `create_ledger` does.
    """
    layout = Layout(Path(path))
    identity = layout.read_identity()
    check_identity(layout, identity)
    disk = Disk() if disk is None else disk
    if write:
        check_filesystem(layout.root, disk, is_unsafe_allowed=unsafe_filesystem)
    return FileStore(
        layout.root,
        identity.origin,
        registry,
        write=write,
        redactor=redactor,
        vkey=identity.vkey,
        signer=signer,
        settings=LedgerSettings() if settings is None else settings,
        clock=SystemClock() if clock is None else clock,
        disk=disk,
    )


def _create(layout: Layout, origin: str, vkey: str | None, clock: Clock, filesystem: str, is_unsafe: bool) -> None:
    """Everything of an empty ledger, `LEDGER.json` last; the lock is held."""
    if layout.identity.exists():
        raise LedgerExistsError(f"{layout.root} already holds a ledger: open it, or choose another folder.")
    first = layout.segment(0)
    if layout.segment(1).exists() or (first.exists() and first.read_bytes().count(b"\n") > 1):
        raise TamperedError(f"{layout.segments} holds records, but LEDGER.json is missing")
    if judge_filesystem(filesystem) == "forgetful":
        text = f"{layout.root} is on {filesystem}, which forgets everything when the machine stops; choose a folder on a disk."
        warnings.warn(text, NotDurableWarning, stacklevel=4)
    now_ms = clock.now_ms()
    batch = build_batch(
        [Codec(Registry(())).encode(created_event(origin, filesystem, vkey=vkey, is_unsafe_filesystem=is_unsafe))],
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
    sync_path(layout.root)  # where LEDGER.json is, the rest must be
    layout.place_file(layout.identity, Identity(origin=origin, created_ms=now_ms, vkey=vkey).to_json().encode())
    sync_path(layout.root.parent)


def check_identity(layout: Layout, identity: Identity) -> None:
    """TamperedError unless `LEDGER.json` says what record 0 says."""
    if recorded_identity(layout) != identity:
        raise TamperedError(f"{layout.identity} says another origin, time or key than the first record")


def recorded_identity(layout: Layout) -> Identity:
    """What record 0 says; TamperedError or CorruptError if it cannot be read."""
    try:
        with layout.segment(0).open("rb") as stream:
            line = stream.readline()
    except FileNotFoundError as error:
        raise TamperedError(f"segment {segment_name(0)} is missing") from error
    try:
        envelope = parse(line)
        created = msgspec.json.decode(envelope.e, type=LedgerCreated)
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptError(segment_name(0), 0, f"its first line cannot be read ({error})", 0) from error
    return Identity(origin=created.origin, created_ms=envelope.t, vkey=created.vkey)
