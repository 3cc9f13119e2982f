"""Distils, exports, evaluates and governs small language models; every fact of a run is an event in a ledger.

The public names are those of `kd.api`. They are looked up when they are first used, so that whoever needs a single module
of kd, as the terminal application does, does not wait for all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Ledger", "Run", "open", "resume", "start"]
"""Found by `__getattr__`; `__init__.pyi` tells type checkers."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kd' has no attribute {name!r}")
    return getattr(import_module("kd.api"), name)
