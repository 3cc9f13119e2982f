"""`kd ledger keys`: who may sign a ledger, and whose signatures count here."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from kd import api
from kd.cli.exit_codes import DONE
from kd.cli.options import JsonFlag, LedgerPath
from kd.cli.screen import print_document, print_line, print_table
from kd.errors import UsageError
from kd.keys import key_folder
from ledger.key_ring import LedgerKey
from ledger.key_rotation import ledger_keys, retire_key, rotate_key
from ledger.tree_head import parse_vkey

__all__ = ["APP", "export_keys", "list_keys", "new_key", "retire", "rotate", "trust"]

APP = App(name="keys", help="List, make, change and trust the keys that sign a ledger.")


@APP.command(name="list")
def list_keys(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """List every key that the ledger ever named, and whether it is here and trusted here."""
    opened, own = api.open(ledger, write=False), key_folder(os.environ)
    trusted = set(own.trusted())
    rows = [_row(key, is_here=own.has(key.key_id), is_trusted=key.vkey in trusted) for key in ledger_keys(opened.store)]
    if json:
        print_document(rows)
    elif rows:
        print_table(rows, ("key_id", "since_size", "valid_through_size", "reason", "is_here", "is_trusted", "vkey"))
    else:
        print_line(f"{opened.path} has no key yet. Make one with: kd ledger keys new")
    return DONE


@APP.command(name="new")
def new_key(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Make a key for a ledger that has none, and sign with it. A ledger with a key changes it by `rotate`."""
    opened = api.open(ledger, write=False)
    if known := ledger_keys(opened.store):
        names = " and ".join(key.key_id for key in known)
        raise UsageError(
            f"{opened.path} has a key already: {names}.", hint="Where that key is, give it another with: kd ledger keys rotate"
        )
    signer = key_folder(os.environ, ledger=opened.path).create(opened.store.origin)
    api.open(ledger, write=True).store.sign_head()
    return _tell(signer.vkey, as_json=json)


@APP.command
def rotate(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Make a new key and let the present one sign that it may sign from now on."""
    opened = api.open(ledger, write=True)
    opened.store.sign_head()  # whoever may not sign makes no key
    signer = key_folder(os.environ).create(opened.store.origin)
    rotate_key(opened.store, signer)
    return _tell(signer.vkey, as_json=json)


@APP.command
def retire(
    key: Annotated[str, Parameter(help="Id or vkey of the key.")],
    *,
    reason: Annotated[Literal["rotated", "compromised"], Parameter(help="Why it may sign no more.")],
    valid_through: Annotated[
        int | None, Parameter(name="--valid-through", help="The last head of it that counts, as a number of records; else the present one.")
    ] = None,
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Let a key sign no more; heads beyond --valid-through count no longer, whoever shows them.

    One that is compromised is trusted here no more, whatever it signed.
    """
    opened = api.open(ledger, write=True)
    vkey = next((each.vkey for each in ledger_keys(opened.store) if key in {each.key_id, each.vkey}), key)
    try:
        retire_key(opened.store, vkey, reason, valid_through)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if reason == "compromised":
        key_folder(os.environ).distrust(vkey)
    if (left := api.open(ledger, write=True).store).can_sign:
        left.sign_head()  # if the key that signed so far was taken away
    if json:
        print_document([_row(each) for each in ledger_keys(opened.store) if each.vkey == vkey])
    else:
        print_line(f"Key {parse_vkey(vkey).key_id} signs no more ({reason}).")
    return DONE


@APP.command(name="export")
def export_keys(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Print the public keys whose present heads count, one a line: what a stranger needs to check proofs."""
    opened = api.open(ledger, write=False)
    found = [key.vkey for key in opened.store.signed_history().ring.present]
    if json:
        print_document(found)
    else:
        for vkey in found:
            print_line(vkey)
    return DONE


@APP.command
def trust(vkey: Annotated[str, Parameter(help="A ledger's public key, from whoever owns it.")], *, json: JsonFlag = False) -> int:
    """Let proofs and heads under this public key count here from now on."""
    key = parse_vkey(vkey)
    key_folder(os.environ).trust(key.vkey)
    if json:
        print_document({"vkey": key.vkey, "key_id": key.key_id, "origin": key.origin})
    else:
        print_line(f"Key {key.key_id} is trusted for {key.origin}.")
    return DONE


def _tell(vkey: str, *, as_json: bool) -> int:
    key = parse_vkey(vkey)
    if as_json:
        print_document({"vkey": vkey, "key_id": key.key_id, "origin": key.origin})
    else:
        print_line(
            f"{vkey}\nGive this public key to whoever will check the ledger; the private one stays in {key_folder(os.environ).path}."
        )
    return DONE


def _row(key: LedgerKey, **more: bool) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "since_size": key.since_size,
        "valid_through_size": key.valid_through_size,
        "reason": key.reason,
        **more,
        "vkey": key.vkey,
    }
