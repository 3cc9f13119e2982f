"""The window that examines the ledger, in a process of its own, and shows what was found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from textual import work

from kd.views.safe_text import safe_text
from tui.screens.text_list import TextList
from tui.widgets.painting import Pieces

__all__ = ["FsckReport"]

_CHECK_SECONDS = 3600


class FsckReport(TextList):
    """Begins when it is shown; closing it leaves the examination to end by itself, as it changes nothing."""

    def __init__(self, ledger: Path) -> None:
        super().__init__("kd ledger fsck", [(("examining the whole ledger", "muted"),)])
        self._ledger = ledger

    def on_mount(self) -> None:
        super().on_mount()
        self._examine()

    @work(thread=True, exit_on_error=False)
    def _examine(self) -> None:
        command = [sys.executable, "-m", "kd", "ledger", "fsck", "--json", "--ledger", str(self._ledger)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_CHECK_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            rows = _plain_rows([str(error)])
        else:
            rows = _findings(done.stdout) or _plain_rows((done.stderr or done.stdout).splitlines())
        self.app.call_from_thread(self.show, rows)


def _findings(document: str) -> list[Pieces]:
    """The rows of the report that fsck printed; none if it printed no report."""
    try:
        report = json.loads(document)
    except ValueError:
        return []
    if not isinstance(report, dict) or "findings" not in report:
        return []
    facts = "  ".join(f"{name}: {value}" for name, value in report.items() if isinstance(value, str | int | bool))
    rows: list[Pieces] = [((safe_text(facts), "muted"),)]
    for each in report["findings"]:
        tone = "warn" if each.get("severity") == "warning" else "bad"
        rows.append(((f"{safe_text(str(each.get('code', '')))}: ", tone), (safe_text(str(each.get("message", ""))), "text")))
    return [*rows, *([] if report["findings"] else [(("Nothing was found that should not be so.", "good"),)])]


def _plain_rows(lines: Sequence[str]) -> list[Pieces]:
    return [((safe_text(line), "text"),) for line in lines]
