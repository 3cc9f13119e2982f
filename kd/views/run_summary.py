"""A run as plain data for JSON and tables."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from kd.artifacts import Artifact
from kd.run import states
from kd.run.stages import STAGES
from kd.stage import Completed, Failed, Outcome, Stage
from kd.views.run_view import RunView

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
    """The run's state in one word; a run at work whose owner died is `interrupted`."""
    if isinstance(view.run, states.Running | states.Pausing | states.Cancelling) and not is_owned:
        return "interrupted"
    return states.status_of(view.run)


def run_row(view: RunView, *, is_owned: bool) -> dict[str, Any]:
    """One row of `kd runs --json`."""
    return {
        "id": view.id,
        "name": view.run.plan.config.name if isinstance(view.run, states.Known) else None,
        "state": run_state_word(view, is_owned=is_owned),
        "stage": _stage_at_work(view),
        "verdict": _verdict(view.run),
        "started_ms": view.started_ms,
        "seconds": round(view.seconds, 3),
        "last_seq": view.last_position,
    }


def summarise(view: RunView, *, is_owned: bool) -> dict[str, Any]:
    """The document of `kd show --json`."""
    return {
        **run_row(view, is_owned=is_owned),
        "reason": _reason(view.run),
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


def _is_resumable(run: states.RunState) -> bool:
    match run:
        case states.Failed(is_retryable=is_retryable):
            return is_retryable
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
