"""What loading the ledger loads, and what it exports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ledger

_ROOT = Path(__file__).parents[2]

_PROBE = """
import importlib, pathlib, sys
for path in pathlib.Path("ledger").glob("*.py"):
    importlib.import_module(f"ledger.{path.stem}" if path.stem != "__init__" else "ledger")
for name, module in sorted(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if file.endswith((".so", ".dylib", ".pyd")) and b"/rustc/" in pathlib.Path(file).read_bytes():
        print("rust", name)
    package = name.partition(".")[0]
    if package not in sys.stdlib_module_names and not package.startswith("_"):
        print("package", package)
"""


def test_the_ledger_loads_no_rust_and_four_packages_alone() -> None:
    """A process that imports every module of the ledger has loaded attrs, cattrs, msgspec and PyNaCl, and nothing built from Rust."""
    done = subprocess.run([sys.executable, "-c", _PROBE], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split("\n")) - {""} <= {
        f"package {name}" for name in ("ledger", "attr", "attrs", "cattr", "cattrs", "cffi", "msgspec", "nacl", "typing_extensions")
    }


def test_public_names_are_exact() -> None:
    """`ledger.__all__` is sorted and names what the package holds, no more and no less."""
    public = [name for name, value in vars(ledger).items() if not name.startswith("_") and not _is_module(value)]
    assert sorted(ledger.__all__) == sorted(public)


def _is_module(value: object) -> bool:
    return type(value).__name__ == "module"
