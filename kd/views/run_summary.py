"""A run as plain data for JSON and tables."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from kd.artifacts import Artifact
from kd.governance.machine import book_of
from kd.governance.states import Idle
from kd.governance.verdict import is_lapsed
from kd.governance.waivers import standing_of
from kd.run import states
from kd.run.stages import STAGES
from kd.stage import Completed, Failed, Outcome, Stage
from kd.views.run_view import RunView
from kd.views.waiver_table import judged

__all__ = ["HANDED_OVER", "ArtifactRow", "artifact_rows", "run_row", "run_state_word", "summarise"]

HANDED_OVER = ("teacher", "dataset", "signal", "student", "export", "hf", "package.fp16", "package.ane-int8")
"""Kinds whose digests are equal for equal config, seed, code and machine; the others are listed on request."""


@frozen(kw_only=True)
class ArtifactRow:
    """An artifact in the shape of `kd artifacts list --json`."""

    kind: str
    stage: str
    run: str
    digest: str
    num_bytes: int


def run_state_word(view: RunView, *, is_owned: bool) -> str:
    """The run's state in one word: `interrupted` if it is at work and its owner died, `broken` if its records cannot be read on."""
    if view.problem is not None:
        return "broken"
    if isinstance(view.run, states.Running | states.Pausing | states.Cancelling) and not is_owned:
        return "interrupted"
    return states.status_of(view.run)


def run_row(view: RunView, *, is_owned: bool, now_ms: int | None = None) -> dict[str, Any]:
    """One row of `kd runs --json`; without `now_ms` at the time of the run's last record."""
    verdict, now_ms = judged(view), (view.last_ms or 0) if now_ms is None else now_ms
    return {
        "id": view.id,
        "name": view.run.plan.config.name if isinstance(view.run, states.Known) else None,
        "state": run_state_word(view, is_owned=is_owned),
        "stage": _stage_at_work(view),
        "verdict": _verdict(view.run),
        "valid_until_ms": None if verdict is None else verdict.valid_until_ms,
        "is_lapsed": verdict is not None and is_lapsed(verdict, now_ms),
        "num_waivers": _num_active(view, now_ms),
        "started_ms": view.started_ms,
        "seconds": round(view.seconds, 3),
        "last_seq": view.last_position,
    }


def summarise(view: RunView, *, is_owned: bool, now_ms: int | None = None) -> dict[str, Any]:
    """The document of `kd show --json`; without `now_ms` at the time of the run's last record."""
    return {
        **run_row(view, is_owned=is_owned, now_ms=now_ms),
        "reason": view.problem or _reason(view.run),
        "is_resumable": _is_resumable(view.run),
        "stages": {stage.name: _stage_row(view, stage) for stage in STAGES},
        "measurements": [asdict(measurement) for measurement in view.measurements],
        "gates": [{"id": gate.gate.id, "status": gate.status, "level": gate.gate.level, "reason": gate.reason} for gate in view.gates],
        "artifacts": [asdict(row) for row in artifact_rows(view)],
        "num_records": view.num_records,
        "num_unknown_records": view.num_unknown,
        "peak_rss_bytes": view.peak_rss_bytes,
    }


def artifact_rows(view: RunView) -> tuple[ArtifactRow, ...]:
    """Everything the run's completed stages handed over, in order."""
    if not isinstance(view.run, states.Known):
        return ()
    return tuple(_artifact_row(view.id, result.stage, artifact) for result in view.run.plan.results for artifact in result.outputs)


def _artifact_row(run: str, stage: str, artifact: Artifact) -> ArtifactRow:
    return ArtifactRow(kind=artifact.kind, stage=stage, run=run, digest=artifact.digest, num_bytes=artifact.num_bytes)


def _stage_row(view: RunView, stage: Stage) -> dict[str, Any]:
    state = view.stages.get(stage.name)
    if state is None:
        return {"state": "waiting", "progress": None, "seconds": None, "reason": None}
    outcome: Outcome | None = stage.outcome(state)
    progress = stage.progress(state)
    seconds = next((r.seconds for r in _results(view.run) if r.stage == stage.name), None)
    match outcome:
        case Completed():
            word = "completed"
        case Failed():
            word = "failed"
        case None:
            word = type(state).__name__.lower()
    return {
        "state": word,
        "progress": None if progress is None else asdict(progress),
        "seconds": seconds,
        "reason": outcome.reason if isinstance(outcome, Failed) else None,
    }


def _results(run: states.RunState) -> tuple[states.StageResult, ...]:
    return run.plan.results if isinstance(run, states.Known) else ()


def _stage_at_work(view: RunView) -> str | None:
    if not isinstance(view.run, states.Known):
        return None
    done = len(view.run.plan.results)
    stages = view.run.plan.stages
    return stages[done] if done < len(stages) else None


def _verdict(run: states.RunState) -> str | None:
    return next((result.verdict for result in reversed(_results(run)) if result.verdict is not None), None)


def _num_active(view: RunView, now_ms: int) -> int:
    """Accepted waivers that hold now, whether or not another verdict may use them."""
    book = book_of(view.stages.get("governance", Idle()))
    return 0 if book is None else sum(standing_of(waiver, now_ms, 0) == "active" for waiver in book.accepted)


def _is_resumable(run: states.RunState) -> bool:
    match run:
        case states.Failed(is_retryable=is_retryable):
            return is_retryable
        case states.Rejected(verdict="waiver_required", granted=granted):
            return bool(granted)
        case states.Succeeded(granted=granted):
            return bool(granted)
        case _:
            return isinstance(run, states.Planned | states.Running | states.Pausing | states.Paused)


def _reason(run: states.RunState) -> str | None:
    match run:
        case (
            states.Pausing(reason=reason)
            | states.Paused(reason=reason)
            | states.Cancelling(reason=reason)
            | states.Cancelled(reason=reason)
        ):
            return reason
        case states.Failed(reason=reason):
            return reason
        case _:
            return None
