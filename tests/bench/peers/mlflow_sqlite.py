"""MLflow's tracking store on SQLite."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.peers.timing import timed

__all__ = ["Subject"]


class Subject:
    """One client and one run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tracking: Any = import_module("mlflow.tracking")
        self._client: Any = tracking.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.sqlite'}")
        experiment = self._client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
        self._run = self._client.create_run(experiment).info.run_id

    def durable(self, n: int) -> dict[str, float]:
        """One metric at a time."""
        return timed(lambda number: self._client.log_metric(self._run, "loss_nats", number / 7, step=number), n)

    def close(self) -> None:
        """Nothing needs closing."""
