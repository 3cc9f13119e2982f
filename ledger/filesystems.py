"""Which file systems a ledger may be written on: those whose locks, syncs and renames hold.

`filesystem_type` says what it is, `judge_filesystem` what it is worth; any other than the known good ones is refused,
or, where someone insists, has to pass a test of its own first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from ledger.disk import Disk, sync_path
from ledger.errors import UnsupportedFilesystemError

__all__ = ["Worth", "check_filesystem", "judge_filesystem", "self_test"]

_ACCEPTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "apfs", "hfs"})
_FORGETFUL = frozenset({"tmpfs", "ramfs"})

Worth = Literal["accepted", "forgetful", "refused"]


def judge_filesystem(kind: str) -> Worth:
    """What a file system of type `kind` is worth: `forgetful` ones lose everything with the machine."""
    return "accepted" if kind in _ACCEPTED else "forgetful" if kind in _FORGETFUL else "refused"


def check_filesystem(folder: Path, disk: Disk, *, is_unsafe_allowed: bool) -> tuple[str, bool]:
    """Type of the file system of `folder`, and whether it is one that is used at the caller's own risk.

    Raises UnsupportedFilesystemError for one that is refused, also where it fails its self-test.
    """
    kind = disk.filesystem_type(folder)
    if judge_filesystem(kind) != "refused":
        return kind, False
    if not is_unsafe_allowed:
        raise UnsupportedFilesystemError(
            f"{folder} is on a file system of type {kind}, expected a local disk such as ext4, xfs, btrfs or apfs: "
            "move the ledger there, or open it with unsafe_filesystem=True if only this machine uses it."
        )
    if failure := self_test(folder):
        raise UnsupportedFilesystemError(
            f"{folder} is on a file system of type {kind}, where {failure}, so no ledger can be kept there: choose another folder."
        )
    return kind, True


def self_test(
    folder: Path,
    *,
    lock: Callable[[int, int], object] = fcntl.flock,
    look: Callable[[int, int, int], bytes] = os.pread,
    sync: Callable[[Path], object] = sync_path,
) -> str | None:
    """What `folder` cannot do of that which a ledger needs, in words; None if it can do all of it."""
    place = folder / f"selftest.{secrets.token_hex(8)}"
    try:
        with ExitStack() as stack:
            place.mkdir()
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            return _find_failure(place, stack, lock, look, sync)
    except OSError as error:
        return f"a system call failed ({error})"


def _find_failure(
    place: Path,
    stack: ExitStack,
    lock: Callable[[int, int], object],
    look: Callable[[int, int, int], bytes],
    sync: Callable[[Path], object],
) -> str | None:
    path = place / "file"
    first = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    stack.callback(os.close, first)
    second = os.open(path, os.O_RDWR)
    stack.callback(os.close, second)
    lock(first, fcntl.LOCK_EX)
    with suppress(BlockingIOError):
        lock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "two handles have the same lock"
    os.write(first, b"one")
    os.write(first, b"two")
    if look(second, 16, 0) != b"onetwo" or os.fstat(second).st_size != 6:
        return "what one handle appends another does not see"
    sync(path)
    path.rename(place / "renamed")
    sync(place)
    if not (place / "renamed").exists() or path.exists():
        return "a renamed file keeps its old name"
    return None
