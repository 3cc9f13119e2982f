"""`kd tui`: becomes the terminal application, which is a program of its own, as kd does not know it."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

from cyclopts import Parameter

from kd.errors import MissingExtraError

__all__ = ["tui"]


def tui(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> int:
    """Watch, scrub, steer and audit runs in the terminal. `kd tui --help` lists its options."""
    for package in ("tui", "textual"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "tui", "kd tui")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "tui", *arguments])  # noqa: S606  # a list, no shell
