"""The system calls that must not lie: whole writes, syncs to the medium, locks, what kind of file system this is."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

__all__ = ["Disk", "boot_id", "filesystem_type", "host_name", "lock_holder", "sync_path"]

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""Where it exists, fsync alone leaves data in the drive's cache."""


class Disk:
    """What an append asks of the system; a test gives one that fails."""

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Append some of `data`; the number of bytes taken."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Have everything written to the file on the medium."""
        if _FULL_SYNC is not None:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        else:
            os.fdatasync(descriptor)

    def truncate(self, descriptor: int, num_bytes: int) -> None:
        os.ftruncate(descriptor, num_bytes)


def sync_path(path: Path) -> None:
    """Have the file or folder at `path` on the medium."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _FULL_SYNC is not None:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_holder(path: Path) -> int | None:
    """Process id of a holder of a lock on `path`, where the system says."""
    try:
        found = path.stat()
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for row in rows:
        words = row.split()
        if "->" not in words and len(words) > 5 and words[5] == place:
            return int(words[4]) if int(words[4]) > 0 else None
    return None


def filesystem_type(path: Path) -> str:
    """Type of the file system that `path` is on, `ext4`; `unknown` where the system does not say."""
    try:
        rows = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "apfs" if sys.platform == "darwin" else "unknown"
    whole = path.resolve()
    best, kind = -1, "unknown"
    for row in rows:
        before, _, after = row.partition(" - ")
        mount = before.split()[4].encode().decode("unicode_escape")
        if len(mount) >= best and (whole == Path(mount) or Path(mount) in whole.parents):
            best, kind = len(mount), after.split()[0]
    return kind


def boot_id() -> str:
    """A name for the time since the machine was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def host_name() -> str:
    return socket.gethostname()
