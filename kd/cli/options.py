"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["JsonFlag", "LedgerPath", "Reason", "RunName"]

LedgerPath = Annotated[Path | None, Parameter(name="--ledger", help="The ledger's folder; else $KD_LEDGER, else ./.kd/ledger.")]
JsonFlag = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document on standard output and nothing else there.")]
RunName = Annotated[str, Parameter(help="A run's id, the unambiguous beginning of one, or `latest`.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why; it is recorded.")]
