"""A tree head is a C2SP signed note, and only the key that is asked for opens it."""

from __future__ import annotations

import base64
import re

import pytest
from nacl.signing import VerifyKey

from ledger.errors import KeyFileError, ProofError
from ledger.tree_head import Signer, TreeHead, open_note, parse_note, parse_vkey, sign_note

_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The example key of the signed note format, public in both parts."""
_HEAD = TreeHead(origin="example.org/team", size=42, root=bytes(range(32)))


def test_the_example_key_is_read_as_everyone_reads_it() -> None:
    """Private form, public form and key id are those of the format's own example."""
    signer = Signer.parse(_PRIVATE)
    assert (signer.vkey, signer.key_id, signer.origin) == (_PUBLIC, "c74f20a3", "PeterNeumann")
    assert signer.private_text() == _PRIVATE + "\n"
    assert parse_vkey(_PUBLIC) == signer.public


def test_a_signed_head_opens_with_its_key() -> None:
    """The note has the three lines, an empty one and one signature, and opens to the same head."""
    signer = Signer.generate(_HEAD.origin)
    note = sign_note(_HEAD, signer)
    text, _, last = note.partition("\n\n")
    assert text == f"example.org/team\n42\n{base64.b64encode(_HEAD.root).decode()}"
    signature = base64.b64decode(last.split(" ")[2])
    VerifyKey(signer.public.public).verify(text.encode() + b"\n", signature[4:])
    assert last.startswith(f"\N{EM DASH} {_HEAD.origin} ")
    assert open_note(note, [Signer.generate(_HEAD.origin).vkey, signer.vkey]) == parse_note(note) == _HEAD


def test_signatures_of_strangers_are_passed_over() -> None:
    """A witness's line in addition to the ledger's own does no harm, and does not stand for it."""
    signer, witness = Signer.generate(_HEAD.origin), Signer.generate("witness.example")
    own = sign_note(_HEAD, signer)
    line = sign_note(_HEAD, witness).rpartition("\n\n")[2]
    assert open_note(own + line, [signer.vkey]) == _HEAD
    alone = own.rpartition("\n\n")[0] + "\n\n" + line
    with pytest.raises(ProofError, match="none of the keys"):
        open_note(alone, [signer.vkey, witness.vkey])


def test_every_changed_byte_is_refused() -> None:
    """No byte of a note can be changed, left out or doubled without the note being refused."""
    signer = Signer.generate(_HEAD.origin)
    note = sign_note(_HEAD, signer).encode()
    for index in range(len(note)):
        flipped = note[:index] + bytes([note[index] ^ 1]) + note[index + 1 :]
        for wrong in (flipped, note[:index] + note[index + 1 :], note[: index + 1] + note[index:]):
            with pytest.raises(ProofError, match="does not hold"):
                open_note(wrong.decode(errors="replace"), [signer.vkey])


_NO_NOTES = {
    "empty": "",
    "empty lines": "\n\n",
    "no root": "a\n1\n\n",
    "leading zero": "a\n01\nAA==\n\n",
    "negative": "a\n-1\nAA==\n\n",
    "short root": "a\n1\nAA==\n\n",
    "no empty line": "a\n1\nAA==\n",
    "5,000 digits": f"a\n{'9' * 5_000}\nAA==\n\n",
}


@pytest.mark.parametrize("text", _NO_NOTES.values(), ids=_NO_NOTES)
def test_what_is_no_note_is_refused(text: str) -> None:
    """Missing lines, odd numbers and roots of another length are no note."""
    with pytest.raises(ProofError, match=r"note|base64"):
        parse_note(text)


def test_what_is_no_key_is_refused() -> None:
    """A key that does not parse, or does not have the id it says, is refused without showing it."""
    for wrong in ("", "x", _PUBLIC, _PRIVATE[:-4], _PRIVATE.replace("c74f20a3", "c74f20a4"), _PRIVATE.replace("Peter", "Paul")):
        with pytest.raises(KeyFileError) as caught:
            Signer.parse(wrong)
        assert "AYEKFALV" not in str(caught.value)
    for wrong in ("", "x", _PRIVATE, _PUBLIC[:-4], _PUBLIC.replace("c74f20a3", "c74f20a4")):
        with pytest.raises(KeyFileError, match="copy it again"):
            parse_vkey(wrong)


def test_a_signer_does_not_show_its_key() -> None:
    """What ends up in a log or a traceback is the name alone."""
    assert re.fullmatch(r"Signer\(origin='PeterNeumann'\)", repr(Signer.parse(_PRIVATE)))
