"""Keys, and what is signed with them: whatever is done, a ledger that can be signed stays so, and nothing unsigned is handed out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kd import api
from kd.cli.app import run_command
from kd.events import REGISTRY
from kd.keys import key_folder
from ledger.errors import KeyFileError
from ledger.events import LEDGER_STREAM, BlobsCollected
from ledger.opening import create_ledger
from ledger.proofs import prove


class Shell:
    """Carries out `kd` commands on one ledger, with a key folder of its own."""

    def __init__(self, folder: Path, screen: pytest.CaptureFixture[str]) -> None:
        self.ledger = folder / "ledger"
        self.keys = folder / "keys"
        self._screen = screen

    def run(self, *tokens: str) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        self._screen.readouterr()
        code = run_command([*(() if tokens[0] == "prove" else ("ledger",)), *tokens, "--ledger", str(self.ledger)])
        return code, "".join(self._screen.readouterr())

    def json(self, *tokens: str) -> Any:
        """The document that a command prints."""
        code, text = self.run(*tokens, "--json")
        assert code == 0, text
        return json.loads(text)

    def signs_with(self) -> str:
        """Id of the key that signs a new record."""
        with api.open(self.ledger).store as store:
            store.append(LEDGER_STREAM, [BlobsCollected(num_blobs=0, num_bytes=0, list=())])
        return str(self.json("head", "--sign")["key_ids"][0])

    @property
    def num_files(self) -> int:
        return len(list(self.keys.glob("*.key")))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A new, signed ledger and the folder with its key."""
    monkeypatch.setenv("KD_KEYS", str(tmp_path / "keys"))
    with api.open(tmp_path / "ledger", create=True).store as store:
        store.sign_head()
    return Shell(tmp_path, capsys)


def test_a_ledger_with_a_key_gets_no_second_one_by_new(shell: Shell) -> None:
    """`new` says which key there is and makes no file; the ledger is signed as before."""
    (key,) = shell.json("keys", "list")
    code, text = shell.run("keys", "new")
    assert (code, shell.num_files) == (2, 1)
    assert key["key_id"] in text
    assert "kd ledger keys rotate" in text
    assert shell.signs_with() == key["key_id"]


def test_a_ledger_without_a_key_gets_its_first_by_new(shell: Shell) -> None:
    """`new` makes the key of a ledger that has none, and signs with it."""
    shell.ledger = shell.ledger.with_name("other")
    create_ledger(shell.ledger, origin="example.invalid/other", registry=REGISTRY).close()
    made = shell.json("keys", "new")
    assert shell.json("head")["key_ids"] == [made["key_id"]]


def test_a_key_that_the_ledger_does_not_know_is_not_used(shell: Shell) -> None:
    """A key file that was made and never told to the ledger, the latest of all, keeps nobody from signing."""
    (key,) = shell.json("keys", "list")
    with api.open(shell.ledger).store as store:
        key_folder(os.environ).create(store.origin)
    assert shell.signs_with() == key["key_id"]


def test_the_key_before_signs_when_the_latest_is_retired(shell: Shell) -> None:
    """Of the keys that are here the last that may still sign does, whichever file is the newest."""
    first = shell.json("keys", "list")[0]["key_id"]
    second = shell.json("keys", "rotate")["key_id"]
    assert shell.signs_with() == second
    shell.json("keys", "retire", second, "--reason", "rotated")
    assert shell.signs_with() == first


def test_who_may_not_sign_makes_no_key_by_rotate(shell: Shell) -> None:
    """Without the ledger's key here, `rotate` says so and leaves no file."""
    (file,) = shell.keys.glob("*.key")
    file.rename(shell.keys / "elsewhere")
    code, text = shell.run("keys", "rotate")
    assert (code, shell.num_files) == (2, 0)
    assert "no key to sign with" in text
    assert file.stem in text


def test_what_a_compromised_key_signed_is_not_believed_here(shell: Shell, tmp_path: Path) -> None:
    """A proof under a key that was retired as compromised proves nothing any more, although the key is here."""
    proof = str(tmp_path / "proof")
    with api.open(shell.ledger).store as store:
        (tmp_path / "proof").write_text(prove(store, 0))
    assert run_command(["verify", proof]) == 0
    first = shell.json("keys", "list")[0]["key_id"]
    shell.json("keys", "rotate")
    shell.json("keys", "retire", first, "--reason", "compromised", "--valid-through", "1")
    assert run_command(["verify", proof]) == 5
    assert [row["is_trusted"] for row in shell.json("keys", "list")] == [False, True]
    assert shell.json("fsck")["findings"] == []


@pytest.mark.parametrize(("more", "words"), [(("--valid-through", "999"), "valid through 999 records"), ((), "rotate to it")])
def test_a_key_that_cannot_be_retired_so_stays(shell: Shell, more: tuple[str, ...], words: str) -> None:
    """More records than there are, and the only key of a ledger, are refused in one sentence, and the key is as before."""
    (key,) = shell.json("keys", "list")
    code, text = shell.run("keys", "retire", key["key_id"], "--reason", "compromised", *more)
    assert (code, text.count("\n"), words in text) == (2, 1, True)
    assert shell.json("keys", "list") == [key]


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_bad_key_file_stops_no_examination(shell: Shell, is_cut: bool) -> None:
    """A key that others can read, or the beginning of one, is a warning that names the file, and other keys sign."""
    bad = shell.keys / "0123abcd.key"
    bad.write_text("PRIVATE+KEY+kd.inval" if is_cut else "")
    bad.chmod(0o600 if is_cut else 0o644)
    (found,) = shell.json("fsck")["findings"]
    assert (found["code"], str(bad) in found["message"]) == ("key_permissions", True)
    shell.signs_with()


def test_what_is_handed_out_names_the_key_that_signed_it(shell: Shell, tmp_path: Path) -> None:
    """After a rotation `prove` and `export` print the one key to check with, and it does check."""
    old, new = shell.json("keys", "list")[0]["vkey"], shell.json("keys", "rotate")["vkey"]
    for number, vkey in enumerate((old, new)):
        proof = str(tmp_path / f"proof-{number}")
        for text in (shell.run("prove", "0", "-o", proof)[1], shell.run("export", str(tmp_path / f"export-{number}"))[1]):
            assert [each in text for each in (old, new)] == [vkey == old, vkey == new]
        assert run_command(["verify", proof, "--vkey", vkey]) == 0
        shell.signs_with()  # the new key, from now on


def test_a_head_that_nobody_signed_is_not_handed_out(shell: Shell, tmp_path: Path) -> None:
    """Where the signature does not fit, the head is neither printed nor made part of a proof or an export."""
    note = shell.ledger / "tree_head"
    note.write_text(note.read_text().replace("\n1\n", "\n2\n", 1))
    for command in (("head",), ("prove", "0", "-o", str(tmp_path / "proof")), ("export", str(tmp_path / "out"))):
        code, text = shell.run(*command)
        assert (code, "does not fit" in text, text.count("\n")) == (5, True, 1)
    assert not (tmp_path / "proof").exists()


def test_a_lost_head_is_signed_again(shell: Shell) -> None:
    """A garbled head keeps nobody from reading; removed and signed anew, as the examination says, the ledger is whole."""
    note = shell.ledger / "tree_head"
    note.write_bytes(b"\xffgarbled")
    assert run_command(["runs", "--ledger", str(shell.ledger)]) == 0
    (found,) = json.loads(shell.run("fsck", "--json")[1])["findings"]
    assert (found["code"], "remove it and sign anew" in found["action"]) == ("head_signature", True)
    note.unlink()
    assert shell.json("head", "--sign")["size"] == 1
    assert shell.json("fsck")["findings"] == []


def test_the_record_of_the_last_signature_is_proven_later(shell: Shell, tmp_path: Path) -> None:
    """What nothing is signed behind yet cannot be proven, which is told in one sentence, and can be after the next head."""
    command = ("prove", "1", "-o", str(tmp_path / "proof"))
    code, text = shell.run(*command)
    assert (code, "ask again then" in text, text.count("\n")) == (2, True, 1)
    shell.signs_with()
    assert shell.run(*command)[0] == 0


def test_bytes_that_are_no_note_are_told_to_be_none(shell: Shell, tmp_path: Path) -> None:
    """A file of any bytes given as a head kept elsewhere is said to be no signed head, and nothing breaks."""
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    code, text = shell.run("fsck", "--json", "--note", str(tmp_path / "bytes"))
    assert (code, [each["code"] for each in json.loads(text)["findings"]]) == (5, ["head_signature"])
    code, text = shell.run("head", "--since", str(tmp_path / "bytes"))
    assert (code, text.count("\n")) == (5, 1)


@pytest.mark.parametrize("command", [("keys", "new"), ("head", "--sign")])
def test_no_key_comes_into_a_ledger(shell: Shell, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """A key folder within the ledger's own is refused, also through a link and for a ledger that is still to be made."""
    shell.ledger = shell.ledger.with_name("other")
    create_ledger(shell.ledger, origin="example.invalid/other", registry=REGISTRY).close()
    link = shell.ledger.with_name("link")
    link.symlink_to(shell.ledger)
    monkeypatch.setenv("KD_KEYS", str(link / "keys"))
    code, text = shell.run(*command)
    assert (code, "is in the ledger" in text) == (2, True)
    assert not (shell.ledger / "keys").exists()
    shell.ledger = shell.ledger.with_name("new")
    monkeypatch.setenv("KD_KEYS", str(shell.ledger))
    with pytest.raises(KeyFileError):
        api.open(shell.ledger, create=True)
