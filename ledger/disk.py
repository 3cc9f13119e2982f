"""The system calls that must not lie: whole writes, syncs to the medium, locks, what kind of file system this is."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import socket
import sys
from pathlib import Path

__all__ = [
    "Disk",
    "boot_id",
    "check_size",
    "filesystem_type",
    "host_name",
    "lock_holder",
    "move_file",
    "sync_path",
    "type_in_statfs",
    "type_in_table",
]

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""Where it exists, fsync alone leaves data in the drive's cache."""
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How spaces and the like are written in the table of mounts."""
_STATFS_TYPE = slice(72, 88)
"""`f_fstypename` in the 64-bit `struct statfs` of macOS."""


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

    def filesystem_type(self, path: Path) -> str:
        """Type of the file system that `path` is on."""
        return filesystem_type(path)


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


def check_size(path: Path, num_bytes: int) -> None:
    """OSError unless the file at `path` has `num_bytes`: a system may say that it wrote, or renamed, and not have done it."""
    found = path.stat().st_size
    if found != num_bytes:
        raise OSError(errno.EIO, f"{path} has {found} bytes after {num_bytes} were written to it")


def move_file(source: Path, target: Path) -> None:
    """Rename; OSError also where the system says that it did and did not."""
    source.rename(target)
    if source.exists():
        raise OSError(errno.EIO, f"{source} is still there after it was renamed to {target}")


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
    if sys.platform == "darwin":
        return _darwin_type(path)
    try:
        table = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return "unknown"
    return type_in_table(table, path.resolve())


def type_in_table(table: str, path: Path) -> str:
    """Type of the file system that holds `path`, by the text of `/proc/self/mountinfo`: the last of the longest matches."""
    best, kind = -1, "unknown"
    for row in table.splitlines():
        before, _, after = row.partition(" - ")
        mount = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split()[4]))
        if len(mount.parts) >= best and path.is_relative_to(mount):
            best, kind = len(mount.parts), after.split()[0]
    return kind


def type_in_statfs(data: bytes) -> str:
    """Type of a file system by what macOS' `statfs` fills in."""
    return data[_STATFS_TYPE].split(b"\0")[0].decode(errors="replace") or "unknown"


def _darwin_type(path: Path) -> str:
    library = ctypes.CDLL(None)
    call = getattr(library, "statfs$INODE64", None) or library.statfs
    buffer = ctypes.create_string_buffer(4096)
    return type_in_statfs(buffer.raw) if call(os.fsencode(path), buffer) == 0 else "unknown"


def boot_id() -> str:
    """A name for the time since the machine was started; `unknown` where the system does not say."""
    if sys.platform == "darwin":
        return _darwin_boot_id()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _darwin_boot_id() -> str:
    buffer = ctypes.create_string_buffer(256)
    num_bytes = ctypes.c_size_t(len(buffer))
    failed = ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(num_bytes), None, ctypes.c_size_t(0))
    return "unknown" if failed else buffer.value.decode(errors="replace").strip() or "unknown"


def host_name() -> str:
    return socket.gethostname()
