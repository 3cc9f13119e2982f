"""Every error the ledger raises.

    LedgerError
      CommandRejectedError      the state machine says no
      AlreadyOwnedError         another live process owns the run
      BlobMissingError          a blob that is named is not there
      BlobPinnedError           a blob without which records cannot be read
      ConflictError: VersionConflictError  KeyReusedError  FencedError
      EncodeError: UnregisteredEventError  PayloadTooLargeError  EntryTooLargeError  BatchTooLargeError
      DecodeError: UnknownEventError  UpcastError  PayloadError
      WriteError: DiskFullError  PoisonedError  ReadOnlyLedgerError  LedgerClosedError
      IntegrityError: CorruptError  TamperedError  HeadConflictError  BlobDamagedError  ProofError
      SetupError: NotALedgerError  LedgerExistsError  FormatVersionError  UnsupportedFilesystemError  KeyFileError

Warnings: `NotDurableWarning` (the file system keeps nothing), `LockHeldWarning` (another writer holds the lock for long),
`HeadNotSignedWarning` (a tree head that was due could not be signed).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

__all__ = [
    "AlreadyOwnedError",
    "BatchTooLargeError",
    "BlobDamagedError",
    "BlobMissingError",
    "BlobPinnedError",
    "CommandRejectedError",
    "ConflictError",
    "CorruptError",
    "DecodeError",
    "DiskFullError",
    "EncodeError",
    "EntryTooLargeError",
    "FencedError",
    "FormatVersionError",
    "HeadConflictError",
    "HeadNotSignedWarning",
    "IntegrityError",
    "KeyFileError",
    "KeyReusedError",
    "LedgerClosedError",
    "LedgerError",
    "LedgerExistsError",
    "LockHeldWarning",
    "NotALedgerError",
    "NotDurableWarning",
    "PayloadError",
    "PayloadTooLargeError",
    "PoisonedError",
    "ProofError",
    "ReadOnlyLedgerError",
    "SetupError",
    "TamperedError",
    "UnknownEventError",
    "UnregisteredEventError",
    "UnsupportedFilesystemError",
    "UpcastError",
    "VersionConflictError",
    "WriteError",
    "write_error",
]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LedgerError(Exception):
    """Any error of the ledger."""


class CommandRejectedError(LedgerError):
    """The machine refuses a command in its present state; nothing was appended."""

    def __init__(self, command: object, state: object, reason: str) -> None:
        super().__init__(reason)
        self.command = command
        self.state = state
        self.reason = reason


class AlreadyOwnedError(LedgerError):
    """Another live process owns the run."""

    def __init__(self, run: str, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"Run {run!r} is owned by {who}: wait until it ends, or stop it, and try again.")
        self.run = run
        self.pid = pid


class BlobMissingError(LedgerError):
    """A blob that an event names is not stored, or not with its size."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"Blob {sha256} is not in the ledger: put it there before an event names it, or restore it from a backup.")
        self.sha256 = sha256


class BlobPinnedError(LedgerError):
    """A blob holds a payload or a summary, so it cannot be released."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"Blob {sha256} holds a record's payload or a summary, expected one that only a record names: it always stays.")
        self.sha256 = sha256


class ConflictError(LedgerError):
    """Somebody else was first; nothing was appended."""


class VersionConflictError(ConflictError):
    """A stream is not at the version the caller has seen."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"Stream {stream!r} is at version {actual}, expected {expected}: read it again and retry.")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class KeyReusedError(ConflictError):
    """An idempotency key was used before for other events."""

    def __init__(self, stream: str, key: str, stored: Sequence[str], given: Sequence[str]) -> None:
        super().__init__(
            f"Key {key!r} of stream {stream!r} stands for {', '.join(stored)}, but was given for {', '.join(given)}: "
            "use a key of its own for each piece of work."
        )
        self.stream = stream
        self.key = key
        self.stored = tuple(stored)
        self.given = tuple(given)


class FencedError(ConflictError):
    """The run has been claimed by a later owner."""

    def __init__(self, run: str, fence: int, current: int) -> None:
        super().__init__(f"This process owned run {run!r} as owner {fence}, but owner {current} has taken over: stop working on it.")
        self.run = run
        self.fence = fence
        self.current = current


class EncodeError(LedgerError):
    """An event cannot be written."""


class UnregisteredEventError(EncodeError):
    """An event's class is not in the registry."""

    def __init__(self, cls: type) -> None:
        super().__init__(f"{cls.__name__} is not a registered event: add an Entry for it to the registry.")
        self.cls = cls


class PayloadTooLargeError(EncodeError):
    """An event is larger than any payload may be."""

    def __init__(self, name: str, num_bytes: int, limit: int) -> None:
        super().__init__(f"The payload of {name} has {num_bytes} bytes, expected at most {limit}: store a blob and name its digest.")
        self.name = name
        self.num_bytes = num_bytes
        self.limit = limit


class EntryTooLargeError(EncodeError):
    """A line would be longer than a line may be."""

    def __init__(self, name: str, num_bytes: int, limit: int) -> None:
        super().__init__(f"The line of {name} would have {num_bytes} bytes, expected at most {limit}: shorten stream, key or actor.")
        self.name = name
        self.num_bytes = num_bytes
        self.limit = limit


class BatchTooLargeError(EncodeError):
    """One append holds too many records or bytes, or none."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecodeError(LedgerError):
    """A stored record cannot be turned into a typed event."""


class UnknownEventError(DecodeError):
    """A record's name or version is not in the registry."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"Event {name}/{version} is unknown to this program: use the version of the program that wrote it, or a later one."
        )
        self.name = name
        self.version = version


class UpcastError(DecodeError):
    """An upcaster failed on a stored payload."""

    def __init__(self, name: str, version: int, reason: str) -> None:
        super().__init__(f"Event {name}/{version} cannot be brought to the present version: {reason}. Mend the upcaster.")
        self.name = name
        self.version = version
        self.reason = reason


class PayloadError(DecodeError):
    """A payload does not fit its class; `problems` has every path."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"The payload of {name} does not fit its class: {'; '.join(problems)}.")
        self.name = name
        self.problems = tuple(problems)


class WriteError(LedgerError):
    """Something could not be written."""


class DiskFullError(WriteError):
    """The disk, the quota or a file size limit is full; nothing that was acknowledged is lost."""


class PoisonedError(WriteError):
    """A sync failed, so the disk may not hold what was written; no process appends any more."""


class ReadOnlyLedgerError(WriteError):
    """The ledger was opened for reading."""


class LedgerClosedError(WriteError):
    """The handle is closed, or was opened before a fork."""


class IntegrityError(LedgerError):
    """The stored bytes are not what was written."""


class CorruptError(IntegrityError):
    """A line does not verify."""

    def __init__(self, segment: str, offset: int, reason: str, position: int | None = None) -> None:
        place = "" if position is None else f", position {position}"
        super().__init__(
            f"{segment} is damaged at byte {offset}{place}: {reason}. Expected what was written; "
            "nothing was changed: restore the file from a backup, or see what fsck finds."
        )
        self.segment = segment
        self.offset = offset
        self.reason = reason
        self.position = position


class TamperedError(IntegrityError):
    """Something is missing or different that no crash can explain."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The ledger was changed by something other than a writer: {reason}. Restore it from a backup.")
        self.reason = reason


class HeadConflictError(IntegrityError):
    """A signed tree head is not a prefix of the records that are there; nothing was signed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The ledger does not continue what was signed: {reason}. Nothing was signed: see what fsck finds.")
        self.reason = reason


class ProofError(IntegrityError):
    """A note, an inclusion proof or a consistency proof does not hold."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The proof does not hold: {reason}. Do not rely on it.")
        self.reason = reason


class BlobDamagedError(IntegrityError):
    """A blob's bytes are not what its digest says."""

    def __init__(self, sha256: str, reason: str) -> None:
        super().__init__(f"Blob {sha256} is damaged: {reason}. Restore it from a backup, or remove the file and run its work again.")
        self.sha256 = sha256
        self.reason = reason


class SetupError(LedgerError):
    """The ledger cannot be created or opened as asked."""


class NotALedgerError(SetupError):
    """The folder holds no ledger."""


class LedgerExistsError(SetupError):
    """The folder already holds a ledger."""


class FormatVersionError(SetupError):
    """The ledger's format is newer than this program."""


class UnsupportedFilesystemError(SetupError):
    """The file system cannot keep a ledger's promises."""


class KeyFileError(SetupError):
    """A signing key is missing, unreadable, not for this ledger, or open to others."""


class NotDurableWarning(UserWarning):
    """The file system forgets everything at power loss."""


class LockHeldWarning(UserWarning):
    """Another writer has held the lock for long."""


class HeadNotSignedWarning(UserWarning):
    """A tree head that was due could not be signed; appends go on."""


def write_error(error: OSError, what: str) -> WriteError:
    """The error that says why `what` was not written."""
    if error.errno in _NO_SPACE:
        return DiskFullError(f"{what} could not be written because there is no space left ({_words(error)}): free some and try again.")
    return WriteError(f"{what} could not be written ({_words(error)}): see to the disk and its permissions, and try again.")


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
