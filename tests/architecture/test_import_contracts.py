"""The import contracts of pyproject.toml hold, and would notice if they did not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

_LINT = Path(sys.executable).with_name("lint-imports")

_SINS = (
    ("packages", "ledger/clock.py", "import kd.errors"),
    ("kd-layers", "kd/training/config.py", "import kd.export.config"),
    ("kd-layers", "kd/artifacts.py", "import kd.stage"),
    ("kd-layers", "kd/unplaced.py", "import kd.errors"),
    ("ledger-layers", "ledger/record.py", "import ledger.store"),
    ("pure", "kd/generation/machine.py", "import random"),
    ("pure", "kd/views/summary_of_sins.py", "import torch"),
    ("watching", "kd/run/pipeline.py", "import kd.models.student"),
    ("watching", "ledger/codec.py", "import onnx"),
    ("tui-layers", "tui/keymap.py", "import tui.app"),
    ("tui-layers", "tui/unplaced.py", "import tui.keymap"),
    ("packages", "kd/cli/runs.py", "import tui.app"),
    ("acyclic", "kd/models/architecture.py", "import kd.models.student"),
)
"""Contract, file, and the line that breaks it."""


def _lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(_LINT), *arguments], cwd=folder, capture_output=True, text=True, check=False)


def _copy(folder: Path) -> Path:
    for package in ("kd", "ledger", "tui"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_all_import_contracts_are_kept(tmp_path: Path) -> None:
    """All contracts hold for the code as it is."""
    finished = _lint(_copy(tmp_path))
    assert finished.returncode == 0, finished.stdout
    assert "7 kept, 0 broken" in finished.stdout


@pytest.mark.parametrize(("contract", "file", "line"), _SINS, ids=[f"{contract}:{file}" for contract, file, _ in _SINS])
def test_a_forbidden_import_breaks_its_contract(contract: str, file: str, line: str, tmp_path: Path) -> None:
    """Each contract fails as soon as one import goes against it."""
    sinner = _copy(tmp_path) / file
    sinner.write_text(f"{sinner.read_text(encoding='utf-8') if sinner.exists() else ''}\n{line}\n", encoding="utf-8")
    finished = _lint(tmp_path, "--contract", contract)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "BROKEN" in finished.stdout
