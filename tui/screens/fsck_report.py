"""The window that examines the ledger, in a process of its own, and shows what was found."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

from textual import work

from kd.views.safe_text import safe_text
from tui.screens.text_list import TextList
from tui.widgets.painting import Pieces

__all__ = ["FsckReport"]

_PROGRAM = (sys.executable, "-m", "kd", "ledger", "fsck", "--json")


class FsckReport(TextList):
    """Begins when it is shown; closing it, or leaving, ends the examination, which changes nothing."""

    def __init__(self, ledger: Path, *, program: Sequence[str] = _PROGRAM) -> None:
        super().__init__("kd ledger fsck", [(("examining the whole ledger", "muted"),)])
        self._command = (*program, "--ledger", str(ledger))

    def on_mount(self) -> None:
        super().on_mount()
        self._examine()

    @work(exit_on_error=False)
    async def _examine(self) -> None:
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        except OSError as error:
            self.show(_plain_rows([str(error)]))
            return
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.show(_findings(output) or _plain_rows((errors or output).splitlines()))


def _findings(document: bytes) -> list[Pieces]:
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


def _plain_rows(lines: Sequence[str | bytes]) -> list[Pieces]:
    return [((safe_text(line), "text"),) for line in lines]
