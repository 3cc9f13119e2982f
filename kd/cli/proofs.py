"""`kd prove` and `kd verify`: one text file that convinces a stranger, offline, that a record is in a ledger."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kd import api
from kd.cli.artifacts import find_artifact
from kd.cli.exit_codes import DONE
from kd.cli.links import find_place
from kd.cli.options import JsonFlag, LedgerPath
from kd.cli.screen import print_document, print_line
from kd.errors import UsageError
from kd.keys import key_folder
from kd.views.position_link import is_link
from ledger.errors import ProofError
from ledger.proofs import VerifiedLine, verify_proof
from ledger.proofs import prove as prove_record
from ledger.tree_head import signatures

__all__ = ["prove", "verify"]

_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def prove(
    subject: Annotated[
        str, Parameter(help="A position, a link, an artifact's digest, or a run's id, the beginning of either, or `latest`.")
    ],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The file to write.")],
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Write a proof that a record is in the ledger: the record at a position, the one that hands over an artifact, or a run's last."""
    found = api.open(ledger, write=False)
    position = _position(found, subject)
    opened = found.with_head_over(position + 1)
    try:
        text = prove_record(opened.store, position)
    except ValueError as error:
        raise UsageError(str(error)) from None
    output.write_text(text, encoding="utf-8")
    keys = [key.vkey for key in opened.store.signed_history().ring.with_id(key_id for _, key_id, _ in signatures(text))]
    if json:
        print_document({"position": position, "file": str(output), "num_bytes": len(text.encode()), "vkeys": keys})
    else:
        print_line(f"{output} proves the record at position {position}. Anyone can check it with:")
        for vkey in keys:
            print_line(f"  kd verify {output} --vkey '{vkey}'")
    return DONE


def verify(
    proof: Annotated[Path, Parameter(help="A proof that `kd prove` wrote.")],
    *,
    vkey: Annotated[
        tuple[str, ...], Parameter(help="The ledger's public key; without it, those that are trusted here. May be repeated.")
    ] = (),
    artifact: Annotated[Path | None, Parameter(help="A file that the proven record must name by its SHA-256.")] = None,
    json: JsonFlag = False,
) -> int:
    """Check a proof offline, without the ledger: signature, place in the tree, and the file, if one is given."""
    text = proof.read_text(encoding="utf-8", errors="replace")
    found = verify_proof(text, vkey or key_folder(os.environ).trusted())
    digest = None if artifact is None else _digest(artifact)
    if digest is not None and not found.names(digest):
        where = f"; its payload lies in the blob {found.payload_sha256}, which names what it names" if found.payload_sha256 else ""
        raise ProofError(f"the record does not name {artifact}, whose SHA-256 is {digest}{where}")
    if json:
        print_document(_document(found) | {"artifact_sha256": digest})
    else:
        envelope = found.envelope
        print_line(f"Proven: {envelope.y} at position {found.position} in stream {envelope.s}")
        print_line(f"of {found.head.origin}, whose first {found.head.size} records are signed:")
        print_line(bytes(envelope.e).decode())
        if digest is not None:
            print_line(f"It names {artifact} (SHA-256 {digest}).")
    return DONE


def _position(opened: api.Ledger, subject: str) -> int:
    end = opened.store.end().position
    if subject.isdecimal() and len(subject) < 16:
        if int(subject) >= end:
            raise UsageError(f"There is no position {subject} in this ledger, expected 0 to {end - 1}.")
        return int(subject)
    if _DIGEST.fullmatch(subject):
        return find_artifact(opened, subject).position
    if is_link(subject):
        position = find_place(opened, subject).position
        assert position is not None, "a link names a position"
        return position
    return opened.run(subject).view().last_position


def _document(found: VerifiedLine) -> dict[str, Any]:
    envelope = found.envelope
    return {
        "is_proven": True,
        "origin": found.head.origin,
        "size": found.head.size,
        "position": found.position,
        "stream": envelope.s,
        "name": envelope.name,
        "time_ms": envelope.t,
        "line": found.line.decode(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
