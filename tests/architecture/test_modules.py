"""Every module says what it is and what it offers, and is called by a noun."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import ROOT, module_name, modules, tree

_CODE = modules("ledger", "kd")
_TESTS = modules("tests")
_EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc", "manager", "managers"}
_ROOTS = {ROOT / "kd" / "__init__.py", ROOT / "ledger" / "__init__.py"}


def _defined(path: Path) -> set[str]:
    """Names that the module itself defines at its top level; imports and type variables left out."""
    return {name for node in tree(path).body for name in _names_of(node)}


def _names_of(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
            return
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _:
            return


def _imported(path: Path) -> set[str]:
    nodes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom | ast.Import))
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def _listed(path: Path) -> set[str] | None:
    """The module's `__all__`, None without one."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return set(ast.literal_eval(node.value))
    return None


def test_no_module_has_an_empty_name() -> None:
    """A module's name says what is inside; words that fit anything are refused."""
    assert not [module_name(path) for path in (*_CODE, *_TESTS) if _EMPTY_NAMES & {*module_name(path).split(".")}]


def test_every_module_opens_with_a_docstring() -> None:
    """A module opens with one sentence about what it holds."""
    assert not [module_name(path) for path in (*_CODE, *_TESTS) if not ast.get_docstring(tree(path))]


def test_all_lists_exactly_what_a_module_offers() -> None:
    """`__all__` names every public definition of its module, and nothing that is not there; ruff keeps it sorted."""
    faults = {}
    for path in _CODE:
        if path.stem in {"__init__", "__main__"}:
            continue
        public = {name for name in _defined(path) if not name.startswith("_")}
        listed = _listed(path)
        if listed is None or public - listed or listed - public - _imported(path):
            faults[module_name(path)] = sorted(public ^ (listed or set()))
    assert not faults


def test_packages_hold_no_logic() -> None:
    """An `__init__` is a docstring; those of `ledger` and `kd` may also say what they offer."""
    assert not [path for path in _CODE if path.stem == "__init__" and path not in _ROOTS and len(tree(path).body) > 1]


def test_every_test_states_its_rule() -> None:
    """A test opens with the rule it checks, in one sentence."""
    silent = [
        f"{module_name(path)}.{node.name}"
        for path in _TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent
