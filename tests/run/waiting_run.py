"""A run whose verdict needs a waiver, with evidence that can be audited, in a ledger of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kd.events import REGISTRY
from kd.evidence import GateRule, GateSet, Measurement, measurements_to_json
from kd.governance.commands import StartGovernance
from kd.governance.config import GovernanceConfig
from kd.governance.executor import execute
from kd.governance.machine import STAGE, verdict_of
from kd.ports import Ports
from kd.run import events as ev
from kd.run import states
from kd.run.config_file import load_run_config
from kd.run.runner import Runner
from kd.run.waiving import grant_waiver
from ledger import create_ledger
from ledger.ownership import claim
from ledger.segments import FileStore
from ledger.testing import FixedClock
from tests.fakes import run_stage
from tests.governance.waiver_examples import DAY_MS, NOW_MS, waiver

__all__ = ["GATES", "RUN", "resume_run", "write_waiting_run", "write_waived_run"]

RUN = "slow-ab12"
_STUDENT_KL = GateRule(id="kl", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=5.0)
GATES = GateSet(
    name="strict",
    gates=(
        _STUDENT_KL,
        GateRule(id="speed", metric="tokens_per_second", suite="speed", rule=">=", theta=10.0),
        GateRule(id="finite", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=100.0, is_waivable=False),
        GateRule(id="reach", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=1.0, level="warn"),
    ),
)
"""Of these, `kl` fails with 6.125 nats and `speed` was never measured; both may be waived."""


def write_waiting_run(path: Path, *, gates: GateSet = GATES, run: str = RUN) -> FileStore:
    """A new ledger at `path` whose only run was judged and rejected for want of waivers; its clock shows NOW_MS."""
    clock = FixedClock(NOW_MS)
    store = create_ledger(path, origin="example.org/waiting", registry=REGISTRY, clock=clock)
    ports = Ports(store=store, blobs=store.blobs, scratch=path / "work", clock=clock)
    measured = Measurement(metric="kl_nats", suite="lm", slice="student", value=6.125, n=36)
    folder = ports.new_folder("evidence")
    (folder / "measurements.json").write_bytes(measurements_to_json([measured]))
    student = ports.new_folder("student")
    (student / "weights").write_bytes(b"weights")
    inputs = (ports.keep("student", student), ports.keep("measurements.evaluation", folder))
    settings = GovernanceConfig(gates=gates)
    state, events = run_stage(STAGE, execute, StartGovernance(config=settings, inputs=inputs, seed=42), ports)
    verdict = verdict_of(state)
    assert verdict is not None
    stream = f"run/{run}"
    config = load_run_config(Path("configs/tiny.yaml"))
    store.append(
        stream,
        [
            ev.RunPlanned(config=config, config_digest="0" * 64, stages=("governance",), code_digest="0" * 64, environment={}),
            ev.RunStarted(),
            ev.StageStarted(stage="governance", inputs=()),
        ],
    )
    for event in events:
        store.append(f"{stream}/governance", [event])
    completed = ev.StageCompleted(stage="governance", outputs=state.outputs, seconds=0.5, verdict=verdict.status)
    end = ev.RunRejected if verdict.status != "approved" else ev.RunSucceeded
    store.append(stream, [completed])
    store.append(stream, [end(verdict=verdict.status)])
    return store


def write_waived_run(path: Path) -> FileStore:
    """The same, granted a waiver for 12 days and one for 40 hours, resumed and approved; a third waiver had come too late."""
    store = write_waiting_run(path)
    late = waiver("kl", 7.0, title="too late", expires_ms=NOW_MS + 1, approved_by="dan")
    for each in (waiver("kl", 6.125), late, waiver("speed", None, max_uses=3, expires_ms=NOW_MS + 5 * DAY_MS // 3)):
        grant_waiver(store, RUN, each, actor="ana@host", now_ms=NOW_MS)
    resume_run(store, now_ms=NOW_MS + 1)
    return store


def resume_run(store: FileStore, *, now_ms: int = NOW_MS, is_interrupted: Callable[[], bool] = lambda: False) -> states.RunState:
    """What a new owner makes of the run at `now_ms`."""
    ownership = claim(store, RUN, "owner@host")
    try:
        clock, scratch = FixedClock(now_ms), store.path / "work" / RUN
        runner = Runner(store, RUN, ownership, scratch=scratch, clock=clock, is_interrupted=is_interrupted)
        runner.start()
        return runner.drive()
    finally:
        ownership.release()
