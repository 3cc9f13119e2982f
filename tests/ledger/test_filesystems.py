"""A ledger is kept only where locks, syncs and renames hold."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.disk import Disk, boot_id, filesystem_type, type_in_statfs, type_in_table
from ledger.errors import NotDurableWarning, UnsupportedFilesystemError
from ledger.events import LedgerCreated
from ledger.filesystems import judge_filesystem, self_test
from ledger.opening import create_ledger, open_ledger
from tests.ledger.examples import ORIGIN, REGISTRY, Saved

_TABLE = r"""22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /data rw - xfs /dev/vdb rw
31 30 0:41 / /data/with\040space rw - nfs4 server:/x rw
32 27 0:42 / /over rw - ext4 /dev/vdc rw
33 27 0:43 / /over rw - fuse.sshfs server:/y rw
"""


class OtherDisk(Disk):
    """A disk that says it is of another type."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def filesystem_type(self, path: Path) -> str:
        return self.kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/a", "ext4"),
        ("/data", "xfs"),
        ("/database", "ext4"),
        ("/data/a/b", "xfs"),
        ("/data/with space/a", "nfs4"),
        ("/over/a", "fuse.sshfs"),
    ],
)
def test_the_type_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    """The longest mount point that holds the path decides, and of two on one place the later."""
    assert type_in_table(_TABLE, Path(path)) == kind


def test_the_type_is_read_from_what_macos_fills_in() -> None:
    """The name stands behind the numbers, ended by a zero byte."""
    assert type_in_statfs(bytes(72) + b"apfs" + bytes(12) + b"/") == "apfs"
    assert type_in_statfs(bytes(100)) == "unknown"
    assert type_in_table("", Path("/")) == "unknown"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuseblk", "9p", "virtiofs", "lustre", "ceph", "glusterfs", "vboxsf", "unknown"]
)
def test_a_ledger_on_a_shared_or_unknown_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    """Creating and opening for writing are refused with nothing written; reading is not."""
    assert judge_filesystem(kind) == "refused"
    path = tmp_path / "ledger"
    with pytest.raises(UnsupportedFilesystemError, match=kind):
        create_ledger(path, origin=ORIGIN, registry=REGISTRY, disk=OtherDisk(kind))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    create_ledger(path, origin=ORIGIN, registry=REGISTRY).close()
    with pytest.raises(UnsupportedFilesystemError, match="expected a local disk"):
        open_ledger(path, registry=REGISTRY, disk=OtherDisk(kind))
    open_ledger(path, registry=REGISTRY, write=False, disk=OtherDisk(kind)).close()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "apfs", "hfs"])
def test_a_local_disk_is_accepted(tmp_path: Path, kind: str) -> None:
    """Its type goes into record 0."""
    with create_ledger(tmp_path / "ledger", origin=ORIGIN, registry=REGISTRY, disk=OtherDisk(kind)) as store:
        created = next(store.scan()).event
    assert isinstance(created, LedgerCreated)
    assert (created.filesystem, created.is_unsafe_filesystem) == (kind, False)


def test_a_forgetful_file_system_is_accepted_with_a_warning(tmp_path: Path) -> None:
    """In memory a ledger works until the machine stops."""
    with pytest.warns(NotDurableWarning, match="forgets everything"):
        create_ledger(tmp_path / "ledger", origin=ORIGIN, registry=REGISTRY, disk=OtherDisk("tmpfs")).close()


def test_an_unsafe_file_system_is_used_at_ones_own_risk_if_it_passes_a_test(tmp_path: Path) -> None:
    """Who insists gets a ledger that says so in record 0, and leaves no trace of the test."""
    disk, path = OtherDisk("nfs4"), tmp_path / "ledger"
    with create_ledger(path, origin=ORIGIN, registry=REGISTRY, disk=disk, unsafe_filesystem=True) as store:
        created = next(store.scan()).event
        assert store.append("run/a", [Saved(name="x")]).is_durable
    assert isinstance(created, LedgerCreated)
    assert (created.filesystem, created.is_unsafe_filesystem) == ("nfs4", True)
    open_ledger(path, registry=REGISTRY, disk=disk, unsafe_filesystem=True).close()
    assert not list(path.glob("selftest*"))


def test_this_folder_passes_the_test(tmp_path: Path) -> None:
    """A local disk can do all that is asked of one."""
    assert judge_filesystem(filesystem_type(tmp_path)) in {"accepted", "forgetful"}
    assert self_test(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def _no_sync(path: Path) -> None:
    raise OSError(errno.EINVAL, "no sync here")


def test_a_file_system_that_lies_fails_the_test(tmp_path: Path) -> None:
    """Locks that both get, appends that are not seen, and folders that cannot be synced are found, each with its name."""
    assert self_test(tmp_path, lock=lambda descriptor, how: None) == "two handles have the same lock"
    assert self_test(tmp_path, look=lambda descriptor, size, offset: b"one") == "what one handle appends another does not see"
    assert "no sync here" in str(self_test(tmp_path, sync=_no_sync))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_fails_the_test(tmp_path: Path) -> None:
    """A test that cannot even begin is failed."""
    tmp_path.chmod(0o555)
    assert "a system call failed" in str(self_test(tmp_path))


@pytest.mark.skipif(sys.platform not in {"linux", "darwin"}, reason="other systems do not say")
def test_the_time_since_the_start_has_one_name() -> None:
    """The same in every process, without a space, so that a mark of an earlier start is told from one of this."""
    command = "from ledger.disk import boot_id; print(boot_id())"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert boot_id() == other.rstrip("\n") != "unknown"
    assert len(boot_id().split()) == 1
