"""DBOS on SQLite: a workflow whose steps are recorded one by one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.peers.timing import NOTE, timed

__all__ = ["Subject"]

_dbos: Any = import_module("dbos")
_DBOS: Any = _dbos.DBOS


@_DBOS.step()  # type: ignore[untyped-decorator]  # only known in the peer's environment
def step(number: int) -> str:
    """One recorded step."""
    return f"{number} {NOTE}"


@_DBOS.workflow()  # type: ignore[untyped-decorator]
def work(n: int) -> dict[str, float]:
    """`n` steps, each recorded before the next."""
    return timed(step, n)


class Subject:
    """One launched executor."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "name": "bench",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
        _DBOS(config=config)
        _DBOS.launch()

    def durable(self, n: int) -> dict[str, float]:
        """One step at a time."""
        answer: dict[str, float] = work(n)
        return answer

    def close(self) -> None:
        """End the executor."""
        _DBOS.destroy()
