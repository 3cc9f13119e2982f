"""Whether the folder that was opened is still there, and still that ledger: open files outlive their names."""

from __future__ import annotations

from pathlib import Path

__all__ = ["LedgerFolder"]


class LedgerFolder:
    """The ledger at `path` as it is now, to be looked at again later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _identity(path)

    def trouble(self) -> str | None:
        """One sentence if the folder is gone or another one; None if all is as it was."""
        if self._seen is None:
            return None
        found = _identity(self._path)
        if found == self._seen:
            return None
        if found is None:
            return f"The ledger is gone: what is shown was read before. Leave with q, or put it back at {self._path}."
        return f"Another ledger is in its place: what is shown is the one before. Leave with q and start again, at {self._path}."


def _identity(path: Path) -> tuple[tuple[int, int], ...] | None:
    """Device and number of the folder and of its segments; None if there are none that can be looked at."""
    try:
        found = [each.stat() for each in (path, path / "seg")]
    except OSError:
        return None
    return tuple((each.st_dev, each.st_ino) for each in found)
