"""Files that nobody but their owner may read: how they are made, and refused when they are not private any more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledger.disk import sync_path
from ledger.errors import KeyFileError

__all__ = ["check_private", "make_private_folder", "read_private", "write_private"]

_MAX_BYTES = 65_536


def make_private_folder(folder: Path) -> None:
    """Have `folder`, with mode 0700; KeyFileError if it is there and others may enter it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        check_private(os.lstat(folder), folder, "directory")
    except OSError as error:
        raise _unusable(folder, error) from error


def check_private(found: os.stat_result, path: Path, kind: str) -> None:
    """KeyFileError unless what is `found` at `path` is this user's own `kind`, closed to everybody else."""
    is_right_kind = stat.S_ISDIR(found.st_mode) if kind == "directory" else stat.S_ISREG(found.st_mode)
    if not is_right_kind:
        raise KeyFileError(f"{path} is not a {kind}, expected one and no link to one: put it in its place.")
    if found.st_uid != os.geteuid():
        raise KeyFileError(f"{path} belongs to user {found.st_uid}, expected {os.geteuid()}: use keys of your own.")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        wanted = "700" if kind == "directory" else "600"
        raise KeyFileError(
            f"{path} has mode {mode:03o}, expected {wanted}: others may know the key; make a new one, or run chmod {wanted}."
        )


def read_private(path: Path) -> str:
    """The text of the private file at `path`; KeyFileError if it is not private, or not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        check_private(os.fstat(descriptor), path, "file")
        return os.read(descriptor, _MAX_BYTES).decode("ascii")
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} is not a text of ASCII characters, expected a key: restore it from a backup.") from error
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """A new private file at `path`, on the medium; KeyFileError if there is one, or if it cannot be written whole."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            data = memoryview(text.encode("ascii"))
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_path(path.parent)
    except BaseException as error:
        path.unlink(missing_ok=True)  # the beginning of a key is none
        if isinstance(error, OSError):
            raise _unusable(path, error) from error
        raise


def _unusable(path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(f"{path} cannot be used ({os.strerror(error.errno or 0)}), expected a private file of yours: see to it and retry.")
