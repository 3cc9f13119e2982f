"""A folder for the files of one benchmark, on the disk that the checkout lies on and on no memory file system."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PLACE", "scratch_folder"]

PLACE = Path(__file__).parents[2] / ".bench"
"""Ignored by git."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below .bench/, removed afterwards."""
    PLACE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=PLACE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
