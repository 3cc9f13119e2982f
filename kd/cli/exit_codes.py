"""Which exit code an ending has."""

from __future__ import annotations

from typing import Any

from kd.errors import ConfigError, DigestMismatchError, KdError, LinkMismatchError, UsageError
from kd.run import states
from ledger.errors import (
    AlreadyOwnedError,
    BlobMissingError,
    BlobPinnedError,
    CommandRejectedError,
    IntegrityError,
    LedgerError,
    SetupError,
)

__all__ = [
    "DONE",
    "FAILED",
    "INTEGRITY",
    "NEEDS_WAIVER",
    "REJECTED",
    "STOPPED_AT_ONCE",
    "USAGE",
    "describe_error",
    "error_code",
    "is_foreseen",
    "run_code",
]

DONE = 0
FAILED = 1
USAGE = 2
REJECTED = 3
NEEDS_WAIVER = 4
INTEGRITY = 5
STOPPED_AT_ONCE = 130


def run_code(state: states.RunState) -> int:
    """The exit code of a command that worked on a run and left it in `state`."""
    match state:
        case states.Succeeded():
            return DONE
        case states.Rejected(verdict=verdict):
            return NEEDS_WAIVER if verdict == "waiver_required" else REJECTED
        case states.Paused(cause="request"):
            return DONE
        case _:
            return FAILED


def error_code(error: BaseException) -> int:
    """The exit code of a command that ended with `error`."""
    match error:
        case IntegrityError() | BlobMissingError() | DigestMismatchError() | LinkMismatchError():
            return INTEGRITY
        case ConfigError() | UsageError() | CommandRejectedError() | AlreadyOwnedError() | BlobPinnedError() | SetupError():
            return USAGE
        case _:
            return FAILED


def describe_error(error: BaseException) -> dict[str, Any]:
    """The error as the JSON document that `--json` prints."""
    document: dict[str, Any] = {"error": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}
    if isinstance(error, ConfigError):
        first = error.problems[0]
        document |= {"path": first.path, "line": first.line, "file": first.file}
        document["problems"] = [{"path": p.path, "file": p.file, "line": p.line, "message": p.message} for p in error.problems]
    return document


def is_foreseen(error: BaseException) -> bool:
    """Whether the error explains itself, so that no traceback is needed."""
    return isinstance(error, KdError | LedgerError)
