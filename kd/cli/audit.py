"""`kd audit`: whether a run is what its ledger says."""

from __future__ import annotations

import os

from attrs import asdict

from kd import api
from kd.audit import AuditReport, audit_run, check_chain
from kd.cli.exit_codes import DONE, INTEGRITY
from kd.cli.links import find_run_place
from kd.cli.options import JsonFlag, LedgerPath, RunName
from kd.cli.screen import print_document, print_line, print_table
from kd.keys import key_folder, trusted_keys
from ledger.head_examination import Trust

__all__ = ["audit"]


def audit(run: RunName, *, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Check the chain, fold every stage again, hash every blob, and derive measurements, gates and verdict anew."""
    path = api.ledger_path(ledger)
    own = key_folder(os.environ)
    chain = check_chain(path, Trust(vkeys=trusted_keys(own), keys=own))
    if chain.is_readable:
        opened = api.open(path, write=False)
        found, _ = find_run_place(opened, run)
        report = audit_run(opened.store, found.id, chain)
    else:
        report = AuditReport(run=run, levels=(chain,), state=None, verdict=None)
    if json:
        print_document(asdict(report) | {"is_ok": report.is_ok})
    else:
        rows = [
            {"level": level.level, "checked": level.num_checked, "result": "ok" if level.is_ok else f"{len(level.findings)} findings"}
            for level in report.levels
        ]
        print_table(rows, ("level", "checked", "result"))
        for level in report.levels:
            for finding in (*level.findings, *level.notes):
                print_line(f"{level.level}: {finding.code}: {finding.message}")
        print_line(f"Run {report.run} is {'what its ledger says' if report.is_ok else 'NOT what its ledger says'}.")
    return DONE if report.is_ok else INTEGRITY
