"""Watching, replaying and auditing a run loads neither torch nor anything that was built from Rust."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, module_name, modules

_PROGRAM = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""
_HEAVY = {"torch", "transformers", "coremltools", "onnx", "onnxruntime", "tokenizers", "safetensors", "llguidance", "numpy"}
_WATCHERS = (*map(module_name, modules("ledger", "kd/views")), "kd.events", "kd.run.control")


@pytest.fixture(scope="module")
def loaded() -> dict[str, str | None]:
    """Name and file of every module that a process has loaded once it can watch a run."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(_WATCHERS)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files: dict[str, str | None] = json.loads(finished.stdout)
    return files


def test_watching_loads_no_heavy_package(loaded: dict[str, str | None]) -> None:
    """The ledger, the events and the views need nothing that computes."""
    assert not _HEAVY & {name.partition(".")[0] for name in loaded}


def test_watching_loads_no_rust(loaded: dict[str, str | None]) -> None:
    """No extension module that is loaded for watching carries the marks of the Rust compiler."""
    extensions = {Path(file) for file in loaded.values() if file is not None and file.endswith((".so", ".dylib", ".pyd"))}
    assert extensions, "no extension module was seen, so this test sees nothing"
    assert not [path for path in extensions if b"/rustc/" in path.read_bytes()]


def test_the_marks_of_rust_are_seen_where_they_are() -> None:
    """A package that is known to be built from Rust shows the mark this test looks for."""
    import tokenizers.tokenizers as extension

    assert extension.__file__ is not None
    assert b"/rustc/" in Path(extension.__file__).read_bytes()
