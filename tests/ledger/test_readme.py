"""The blocks of the ledger's README do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "ledger" / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _README, re.DOTALL | re.MULTILINE)


def test_the_python_blocks_run_and_print_what_is_shown(tmp_path: Path) -> None:
    """All Python blocks run one after the other, and the first prints the block behind it."""
    script = tmp_path / "readme.py"
    script.write_text("\n".join(_blocks("python")))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == _blocks("text")[0]


def test_the_line_that_is_shown_is_a_line(tmp_path: Path) -> None:
    """The example of a record stands in the golden ledger."""
    golden = (_ROOT / "tests" / "ledger" / "golden" / "format_1" / "seg" / "00000000.jsonl").read_text()
    assert _blocks("json")[0] in golden
