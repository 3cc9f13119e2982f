"""Planning runs, from any process and without loading what a stage needs."""

from __future__ import annotations

from datetime import UTC, datetime

from kd.run import commands, machine
from kd.run.config import RunConfig, config_digest
from kd.run.environment import code_digest, describe_environment
from kd.run.pipeline import STAGE_ORDER
from kd.run.stages import run_stream
from ledger.clock import Clock
from ledger.handle import Live
from ledger.record import Meta
from ledger.segments import FileStore

__all__ = ["plan_run"]


def plan_run(store: FileStore, config: RunConfig, *, clock: Clock, random_hex: str, actor: str) -> str:
    """Record a new run of `config`; its id is name, UTC time and `random_hex`."""
    when = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    run = f"{config.name}-{when:%Y%m%dT%H%M%S}-{random_hex}"
    command = commands.PlanRun(
        config=config,
        config_digest=config_digest(config),
        stages=STAGE_ORDER,
        code_digest=code_digest(),
        environment=describe_environment(),
    )
    Live(store, run_stream(run), machine.RUN).handle(command, meta=Meta(actor=actor))
    return run
