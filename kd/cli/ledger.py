"""`kd ledger`: the ledger itself, examined, counted, signed and handed out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from attrs import asdict
from cyclopts import App, Parameter

from kd import api
from kd.cli import keys
from kd.cli.exit_codes import DONE
from kd.cli.options import JsonFlag, LedgerPath
from kd.cli.screen import print_document, print_line, print_table
from kd.errors import UsageError
from kd.events import REGISTRY
from kd.keys import key_folder, trusted_keys
from ledger.findings import Depth
from ledger.fsck import check_ledger
from ledger.head_examination import Trust
from ledger.layout import Layout
from ledger.proofs import consistency_proof
from ledger.stats import ledger_stats
from ledger.tile_export import export_tiles
from ledger.tree_head import TreeHead, signatures, to_base64

__all__ = ["APP", "export", "fsck", "head", "stats"]

APP = App(name="ledger", help="Examine, count, sign and export the ledger itself.")
APP.command(keys.APP)


@APP.command
def fsck(
    *,
    depth: Annotated[
        Depth, Parameter(help="quick: the open segment; full: every line and signature; deep: every blob and payload too.")
    ] = "full",
    repair: Annotated[bool, Parameter(name="--repair", negative="", help="Move a torn tail to quarantine and make tiles again.")] = False,
    accept_loss: Annotated[
        int | None, Parameter(name="--accept-loss", help="With --repair: drop a damaged end that costs exactly so many records.")
    ] = None,
    note: Annotated[tuple[Path, ...], Parameter(help="A signed head that was kept elsewhere, in a file; may be repeated.")] = (),
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Hold every stored byte against the rules of the format; changes nothing unless told to."""
    if accept_loss is not None and not repair:
        raise UsageError("--accept-loss says what a repair may cost.", hint="Give --repair as well.")
    if accept_loss is not None and accept_loss < 0:
        raise UsageError(f"--accept-loss is {accept_loss}, expected the number of records that may go, 0 or more.")
    path = api.ledger_path(ledger)
    own = key_folder(os.environ)
    notes = tuple(each.read_text(encoding="utf-8", errors="replace") for each in note)
    trust = Trust(vkeys=trusted_keys(own), keys=own, notes=notes)
    report = check_ledger(path, depth, registry=REGISTRY, repair=repair, accept_loss=accept_loss, trust=trust)
    if json:
        print_document(report.to_plain())
        return report.exit
    if report.findings:
        rows = [asdict(each) for each in report.findings]
        print_table(rows, ("severity", "code", "segment", "offset_bytes", "position", "message", "action"))
    rate = report.size / report.seconds if report.seconds > 0 else 0.0
    print_line(
        f"{report.size} records in {report.num_segments} segments, {report.seconds:.2f} s ({rate:,.0f} records/s), {depth} examination."
    )
    print_line(f"{path} is {'whole' if report.is_ok else 'NOT whole'}.")
    return report.exit


@APP.command
def stats(*, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Count records and bytes by event name and segment, and what is remarkable among them."""
    found = ledger_stats(api.ledger_path(ledger))
    if json:
        print_document(asdict(found))
        return DONE
    print_table([asdict(each) for each in found.names], ("name", "num_records", "num_bytes"))
    print_line()
    print_table([asdict(each) for each in found.segments], ("segment", "num_records", "num_bytes", "is_sealed"))
    print_line()
    plain = asdict(found)
    rows = [
        {"what": name.removeprefix("num_").replace("_", " "), "value": value}
        for name, value in plain.items()
        if not isinstance(value, tuple | list)
    ]
    print_table(rows, ("what", "value"))
    print_line()
    print_table([asdict(each) for each in found.longest], ("position", "name", "num_bytes"))
    return DONE


@APP.command
def head(
    *,
    sign: Annotated[bool, Parameter(name="--sign", negative="", help="Sign all that is recorded now, with this ledger's key.")] = False,
    since: Annotated[
        Path | None, Parameter(help="A head that was kept elsewhere, in a file: also prove that nothing before it changed.")
    ] = None,
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Print the signed tree head: one text that stands for the whole history, to be kept where the ledger's owner cannot reach."""
    opened = api.open(ledger, write=sign)
    note = opened.store.sign_head() if sign else None
    if note is None:
        note = Layout(opened.path).read_note()
    if note is None:
        raise UsageError(f"Nothing in {opened.path} is signed yet.", hint="Sign it with: kd ledger head --sign")
    signed = opened.store.signed_history().ring.open_note(note)
    proof = None if since is None else consistency_proof(opened.store, since.read_text(encoding="utf-8", errors="replace"))
    if json:
        print_document(_head_row(signed, note) | {"consistency_proof": proof})
    else:
        print_line(note if proof is None else proof)
    return DONE


@APP.command
def export(
    out: Annotated[Path, Parameter(help="A folder that does not exist yet, or is empty.")],
    *,
    format_: Annotated[
        Literal["tlog-tiles"], Parameter(name="--format", help="C2SP tlog-tiles: checkpoint, tiles and entries.")
    ] = "tlog-tiles",
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Write everything that is signed as a folder that any client of transparency logs can check."""
    opened = api.open(ledger, write=False).with_head_over(1)
    found = export_tiles(opened.store, out)
    if json:
        print_document({"folder": str(out), "format": format_, "origin": found.origin, "size": found.size, "root": to_base64(found.root)})
    else:
        print_line(f"{found.size} records of {found.origin} in {out}")
        checkpoint = (out / "checkpoint").read_text(encoding="utf-8")
        for key in opened.store.signed_history().ring.with_id(key_id for _, key_id, _ in signatures(checkpoint)):
            print_line(f"Its readers check it with: {key.vkey}")
    return DONE


def _head_row(found: TreeHead, note: str) -> dict[str, object]:
    return {
        "origin": found.origin,
        "size": found.size,
        "root": to_base64(found.root),
        "key_ids": [key_id for _, key_id, _ in signatures(note)],
        "note": note,
    }
