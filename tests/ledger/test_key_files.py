"""Private keys stay private: who else can read one makes it unusable."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ledger.errors import KeyFileError
from ledger.key_files import KeyFolder
from ledger.private_files import write_private
from ledger.tree_head import Signer

_ORIGIN = "example.org/team"


def test_a_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Folder 0700, file 0600, one line in the file, and the same key when it is read again."""
    folder = KeyFolder(tmp_path / "a" / "keys")
    signer = folder.create(_ORIGIN)
    (path,) = folder.path.iterdir()
    assert (stat.S_IMODE(folder.path.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    assert path.read_text() == signer.private_text()
    assert signer.private_text().count("\n") == 1
    assert [folder.signer(name).vkey for name in (_ORIGIN, signer.key_id)] == [signer.vkey] * 2


def test_the_latest_key_of_an_origin_is_used(tmp_path: Path) -> None:
    """Of several keys of a ledger the last one that was made signs; each can be asked for by its id."""
    folder = KeyFolder(tmp_path / "keys")
    assert folder.list() == ()
    made = [folder.create(_ORIGIN) for _ in range(3)]
    folder.create("example.org/other")
    for age, signer in enumerate(made):
        os.utime(folder.path / f"{signer.key_id}.key", (age, age))
    assert folder.signer(_ORIGIN).vkey == made[-1].vkey
    assert folder.signer(made[0].key_id).vkey == made[0].vkey
    assert [signer.vkey for signer in folder.list()][:3] == [signer.vkey for signer in made]
    with pytest.raises(KeyFileError, match="has no key for"):
        folder.signer("example.org/nobody")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Any bit for group or others makes a key file unusable, and likewise its folder."""
    folder = KeyFolder(tmp_path / "keys")
    signer = folder.create(_ORIGIN)
    path = folder.path / f"{signer.key_id}.key"
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        folder.signer(_ORIGIN)
    path.chmod(0o600)
    folder.path.chmod(mode | 0o100)
    with pytest.raises(KeyFileError, match="chmod 700"):
        folder.signer(_ORIGIN)
    with pytest.raises(KeyFileError, match="chmod 700"):
        folder.create(_ORIGIN)


def test_a_link_is_no_key(tmp_path: Path) -> None:
    """A symbolic link in the place of a key or of the folder is refused."""
    folder = KeyFolder(tmp_path / "keys")
    signer = folder.create(_ORIGIN)
    path = folder.path / f"{signer.key_id}.key"
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(KeyFileError, match="cannot be used"):
        Signer.load(path)
    (tmp_path / "link").symlink_to(folder.path)
    with pytest.raises(KeyFileError, match="is not a directory"):
        KeyFolder(tmp_path / "link").create(_ORIGIN)
    with pytest.raises(KeyFileError, match="cannot be used"):
        Signer.load(tmp_path / "nothing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A key file that belongs to another user is refused."""
    folder = KeyFolder(tmp_path / "keys")
    signer = folder.create(_ORIGIN)
    os.chown(folder.path / f"{signer.key_id}.key", 12345, 12345)
    with pytest.raises(KeyFileError, match="belongs to user 12345"):
        folder.signer(_ORIGIN)


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    """A damaged key is refused and stays as it is; so does a text that is no key."""
    folder = KeyFolder(tmp_path / "keys")
    signer = folder.create(_ORIGIN)
    path = folder.path / f"{signer.key_id}.key"
    for text in (signer.private_text()[:-9], "hello", "\N{SNOWMAN}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(KeyFileError, match=rf"{signer.key_id}\.key .*restore it from a backup"):
            folder.signer(signer.key_id)
        assert path.read_text(encoding="utf-8") == text


def test_the_beginning_of_a_key_is_not_left(tmp_path: Path) -> None:
    """A private file that cannot be written whole is not there afterwards."""
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "key", "PRIVATE+KEY+\N{SNOWMAN}")
    assert list(tmp_path.iterdir()) == []


def test_a_distrusted_key_counts_no_more(tmp_path: Path) -> None:
    """Neither a listed nor an own key is trusted once it is distrusted, and no command of trust brings it back."""
    folder = KeyFolder(tmp_path / "keys")
    theirs, own = Signer.generate("example.org/theirs").vkey, folder.create(_ORIGIN).vkey
    folder.trust(theirs)
    folder.distrust(own)
    assert folder.trusted() == (theirs,)
    folder.distrust(theirs)
    assert folder.trusted() == ()
    with pytest.raises(KeyFileError, match="trust a later key"):
        folder.trust(theirs)


def test_trust_is_a_list_of_public_keys(tmp_path: Path) -> None:
    """One's own keys are trusted, and those that were added, once each; what is no public key is refused."""
    folder = KeyFolder(tmp_path / "keys")
    theirs = Signer.generate("example.org/theirs").vkey
    folder.trust(theirs)
    folder.trust(theirs)
    own = folder.create(_ORIGIN)
    assert folder.trusted() == (theirs, own.vkey)
    with pytest.raises(KeyFileError, match="not a public key"):
        folder.trust("hello")
    (folder.path / "trust").chmod(0o622)
    with pytest.raises(KeyFileError, match="chmod 600"):
        folder.trusted()
