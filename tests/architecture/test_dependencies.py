"""What the code imports is declared, what is declared is imported, and everything declared is pinned."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.architecture.sources import ROOT, imported_packages, modules

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_OWN = {"kd", "ledger", "tests", "tui"}
_TOOLS = {"basedpyright", "import-linter", "mypy", "pytest-asyncio", "pytest-xdist", "ruff"}
"""Called by name or found by pytest, never imported."""


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[._-]+", "-", found[0]).lower()


def _declared(*extras: str) -> set[str]:
    optional = _PROJECT["optional-dependencies"]
    lists = [_PROJECT["dependencies"], *(optional[extra] for extra in extras)]
    return {_name(requirement) for requirements in lists for requirement in requirements} - {"kd-ledger"}


def _imported(*packages: str) -> set[str]:
    """Distributions behind the foreign imports of `packages`."""
    distributions = packages_distributions()
    tops = {top for path in modules(*packages) for top in imported_packages(path)} - _OWN - set(sys.stdlib_module_names)
    return {_name(distributions[top][0]) for top in tops}


def test_every_import_of_the_packages_is_declared() -> None:
    """What `kd`, `ledger` and `tui` import is a dependency or part of an extra."""
    assert _imported("kd", "ledger", "tui") <= _declared(*_PROJECT["optional-dependencies"]) - _declared_for_development()


def test_every_declared_package_is_imported() -> None:
    """No dependency is carried along that no code uses."""
    assert _declared(*_PROJECT["optional-dependencies"]) - _imported("kd", "ledger", "tui", "tests") <= _TOOLS


def test_the_ledger_needs_four_packages_at_most() -> None:
    """The ledger imports the standard library, attrs, cattrs, msgspec and PyNaCl, and nothing else."""
    assert _imported("ledger") <= {"attrs", "cattrs", "msgspec", "pynacl"}


def test_every_declared_package_is_pinned() -> None:
    """tools/constraints.txt fixes the version of everything that pyproject.toml names."""
    lines = (ROOT / "tools" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", pin) for pin in pins)
    assert _declared(*_PROJECT["optional-dependencies"]) <= {_name(pin) for pin in pins}


def _declared_for_development() -> set[str]:
    return {_name(requirement) for requirement in _PROJECT["optional-dependencies"]["dev"]}
