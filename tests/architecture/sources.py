"""The project's own files, parsed: what the tests of its shape look at."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "imported_packages", "module_name", "modules", "project_files", "tree"]

ROOT = Path(__file__).parents[2]

_LEFT_OUT = {"__pycache__", "build", "dist", "node_modules"}


def modules(*packages: str) -> tuple[Path, ...]:
    """Every Python file of `packages`, in order."""
    return tuple(sorted(path for package in packages for path in (ROOT / package).rglob("*.py")))


def module_name(path: Path) -> str:
    """`kd/run/machine.py` → `kd.run.machine`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(path: Path) -> set[str]:
    """Top names of everything that the file imports, at any depth of nesting."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found


def project_files() -> Iterator[Path]:
    """Every file that is or would be part of the repository."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        yield from (ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name and (ROOT / os.fsdecode(name)).is_file())
        return
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and (not name.startswith(".") or name == ".ci")]
        yield from (Path(folder) / name for name in names)
