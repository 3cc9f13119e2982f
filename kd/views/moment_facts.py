"""What of a run changes from moment to moment, as one flat table of named facts, and which record set each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kd.artifacts import Artifact
from kd.run import states
from kd.run.stages import STAGES
from kd.stage import Completed, Failed
from kd.training.states import Sealing, Training, Validating
from kd.views.run_view import RunView, evolve_view
from kd.views.waiver_table import judgement_in
from ledger.record import Record

__all__ = ["Fact", "facts_of", "set_by"]

Fact = str | int | float | None


def facts_of(view: RunView) -> Mapping[str, Fact]:
    """Facts by dotted name: `run.state`, `training.step`, `gate.parity.decode`, `lm.kl_nats.student` …"""
    facts: dict[str, Fact] = {"run.state": states.status_of(view.run)}
    for name in ("cause", "reason", "verdict"):
        if hasattr(view.run, name):
            facts[f"run.{name}"] = getattr(view.run, name)
    for stage in STAGES:
        state = view.stages.get(stage.name)
        if state is None:
            continue
        facts[f"{stage.name}.state"] = type(state).__name__.lower()
        progress = stage.progress(state)
        if progress is not None:
            facts[f"{stage.name}.{progress.unit}"] = progress.done
        outcome = stage.outcome(state)
        if isinstance(outcome, Failed):
            facts[f"{stage.name}.reason"] = outcome.reason
        if isinstance(outcome, Completed):
            facts |= _outputs(stage.name, outcome.outputs)
    facts |= _training(view.stages.get("training"))
    facts |= {f"{each.suite}.{each.metric}.{each.slice}": each.value for each in view.measurements}
    facts |= {f"gate.{each.gate.id}": each.status for each in view.gates}
    facts |= _waivers(view)
    if view.peak_rss_bytes:
        facts["memory.peak_bytes"] = view.peak_rss_bytes
    return facts


def set_by(view: RunView, records: Iterable[Record], wanted: Mapping[str, Fact], rest: Callable[[], None] | None = None) -> dict[str, int]:
    """The last of `records` that gave each wanted fact its wanted value, where one of them did; `view` is the run before them.

    `rest` is called every 256 records, for a thread that others wait for.
    """
    found: dict[str, int] = {}
    facts = facts_of(view)
    prefix = f"run/{view.id}"
    for count, record in enumerate(records):
        if rest is not None and not count % 256:
            rest()
        if record.stream != prefix and not record.stream.startswith(f"{prefix}/"):
            continue
        view = evolve_view(view, record)
        now = facts_of(view)
        for name, value in wanted.items():
            if name in now and now[name] == value and (name not in facts or facts[name] != value):
                found[name] = record.position
        facts = now
    return found


def _outputs(stage: str, outputs: Iterable[Artifact]) -> dict[str, Fact]:
    return {f"{stage}.{artifact.kind}": f"sha256 {artifact.digest}" for artifact in outputs}


def _waivers(view: RunView) -> dict[str, Fact]:
    judgement = judgement_in(view)
    if judgement is None:
        return {}
    facts: dict[str, Fact] = {"verdict.id": judgement.verdict.id}
    facts |= {f"waiver.{waiver.id}": "accepted" for waiver in judgement.book.accepted}
    facts |= {f"waiver.{waiver.id}": "unanswered" for waiver in judgement.unanswered}
    return facts


def _training(state: object) -> dict[str, Fact]:
    if not isinstance(state, Training | Validating | Sealing):
        return {}
    course = state.course
    facts: dict[str, Fact] = {"training.step": course.step, "training.validated": course.validated}
    if course.checkpoints:
        facts["training.checkpoint"] = f"sha256 {course.checkpoints[-1].artifact.digest}"
    if course.num_skipped:
        facts["training.num_skipped"] = course.num_skipped
    return facts
