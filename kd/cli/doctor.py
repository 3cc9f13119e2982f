"""`kd doctor`: what this machine has for kd, and the cure for what it lacks. It connects to nothing and changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import psutil
from attrs import asdict, frozen
from cyclopts import Parameter

from kd import api
from kd.cli.exit_codes import DONE, FAILED
from kd.cli.options import JsonFlag, LedgerPath
from kd.cli.screen import print_document, print_table
from kd.errors import KdError
from ledger.errors import LedgerError

__all__ = ["Operation", "Row", "doctor"]

Operation = Literal["watch", "generation", "training", "export", "conversion", "evaluation", "all"]
_GIB = 2**30
_PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "watch": ("", ("attrs", "cattrs", "msgspec", "cyclopts", "rich", "ruamel.yaml", "psutil", "aiohttp")),
    "generation": ("generate", ("torch", "tokenizers", "safetensors", "gguf", "llguidance", "jsonschema", "jinja2")),
    "training": ("train", ("torch", "tokenizers", "safetensors", "numpy")),
    "export": ("export", ("torch", "onnx", "onnxscript", "onnxruntime")),
    "conversion": ("coreml", ("torch", "coremltools")),
    "evaluation": ("evaluate", ("onnxruntime", "llguidance", "tokenizers", "jsonschema")),
}
"""Operation to the extra that brings its packages, and the packages."""


@frozen(kw_only=True)
class Row:
    """One finding."""

    check: str
    status: Literal["ok", "warn", "fail", "unknown"]
    found: str
    cure: str = ""


def doctor(
    *,
    for_: Annotated[Operation, Parameter(name="--for", help="Only what this kind of work needs.")] = "all",
    ledger: LedgerPath = None,
    json: JsonFlag = False,
) -> int:
    """Check Python, packages, the default teacher, disk, memory, and the ledger if there is one."""
    rows = [*_machine(), *_packages(for_), *_teacher(for_), *_ledger(ledger)]
    if json:
        print_document([asdict(row) for row in rows])
    else:
        print_table([asdict(row) for row in rows], ("check", "status", "found", "cure"))
    return FAILED if any(row.status == "fail" for row in rows) else DONE


def _machine() -> Iterator[Row]:
    yield Row(check="python", status="ok", found=".".join(map(str, sys.version_info[:3])))
    memory = psutil.virtual_memory().available
    yield _at_least("memory", memory, 4 * _GIB, "The quickstart needs about 4 GiB: close other programs.")
    yield Row(check="cores", status="ok" if os.cpu_count() else "unknown", found=str(os.cpu_count() or "the system does not say"))


def _packages(operation: Operation) -> Iterator[Row]:
    wanted = {package: extra for name, (extra, packages) in _PACKAGES.items() if operation in {"all", name} for package in packages}
    for package, extra in wanted.items():
        yield _package(package, extra)


def _package(package: str, extra: str) -> Row:
    try:
        return Row(check=package, status="ok", found=metadata.version(package))
    except metadata.PackageNotFoundError:
        return Row(check=package, status="fail", found="not installed", cure=f"pip install 'kd-ledger{f'[{extra}]' if extra else ''}'")


def _teacher(operation: Operation) -> Iterator[Row]:
    if operation in {"all", "generation"}:
        yield _tried("default teacher", _find_default_teacher, on_error="warn")


def _find_default_teacher() -> str:
    from kd.models.smollm2 import gguf_path

    return str(gguf_path())


def _ledger(path: Path | None) -> Iterator[Row]:
    folder = path or api.default_ledger()
    nearest = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path("/"))
    yield _at_least(
        "disk", shutil.disk_usage(nearest).free, 4 * _GIB, "A quickstart writes about 2 GiB: free some, or name another --ledger."
    )
    if not (folder / "LEDGER.json").exists():
        yield Row(check="ledger", status="ok", found=f"none yet at {folder}")
        return
    yield _tried("ledger", lambda: _open_ledger(folder), on_error="fail")


def _open_ledger(folder: Path) -> str:
    store = api.open(folder, write=False).store
    end = store.end()
    last = next(iter(store.scan(start=max(0, end.position - 1))), None)
    ahead_ms = 0 if last is None else last.time_ms - time.time_ns() // 1_000_000
    if ahead_ms > 60_000:
        return f"{end.position} records; the last is {ahead_ms / 1000:.0f} s in the future: set this machine's clock"
    return f"{end.position} records at {folder}"


def _tried(check: str, look: Callable[[], str], *, on_error: Literal["warn", "fail"]) -> Row:
    try:
        return Row(check=check, status="ok", found=look())
    except (KdError, LedgerError) as error:
        return Row(check=check, status=on_error, found=str(error), cure=getattr(error, "hint", ""))


def _at_least(check: str, free: int, wanted: int, cure: str) -> Row:
    is_enough = free >= wanted
    return Row(check=check, status="ok" if is_enough else "warn", found=f"{free / _GIB:.1f} GiB free", cure="" if is_enough else cure)
