"""Asks the arms and scores their answers, one item at a time; an item that was told is never asked again."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import assert_never

import torch

from kd.artifacts import Artifact, artifact_of
from kd.dataset.sample import Sample
from kd.dataset.shards import read_dataset
from kd.errors import StageError
from kd.evaluation.arms import Answer, Arm, ModelLikelihood, Speed, TeacherLikelihood, ToolUse
from kd.evaluation.commands import Command, CompleteEvaluation, PlanEvaluation, RecordItem, RecordMeasurements, RecordSelfTest
from kd.evaluation.events import ItemEvaluated
from kd.evaluation.measures import measure
from kd.evaluation.planning import plan_suites, sample_id_of
from kd.evaluation.self_test import check_scorers
from kd.evaluation.states import CheckScorers, EvaluateItems, Measure, Plan, Seal, Work
from kd.evidence import Measurement, measurements_to_json
from kd.models.logit_store import SignalStore
from kd.models.student import load_student
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.runtime.ort_engine import OrtEngine
from kd.stage import Tell, Wish

__all__ = ["execute"]

_SUBJECTS = {
    ("lm", "student"): "student",
    ("lm", "untrained"): "untrained_student",
    ("lm", "teacher"): "teacher",
    ("tool_use", "free"): "export",
    ("tool_use", "constrained"): "export",
    ("speed", "student"): "export",
}
"""Kind of the artifact that each arm of a suite measures."""


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """The command that records the result of `work`, or None if it was told to stop."""
    match work:
        case Plan():
            samples = tuple(_test_samples(work.job.inputs, ports).values())
            return PlanEvaluation(suites=plan_suites(samples, work.job.config))
        case CheckScorers():
            test = _test_samples(work.inputs, ports)
            planned = [test[item_id] for plan in work.suites if plan.suite == "tool_use" for item_id in plan.item_ids]
            return RecordSelfTest(num_checks=check_scorers(planned))
        case EvaluateItems():
            return _evaluate(work, ports, tell)
        case Measure():
            return RecordMeasurements(measurements=measure(work.items))
        case Seal():
            return CompleteEvaluation(outputs=(_kept(work.measurements, ports),))
        case _:
            assert_never(work)


def _evaluate(work: EvaluateItems, ports: Ports, tell: Tell) -> RecordItem | None:
    """Tell every item but the last, which is the result."""
    test = _test_samples(work.job.inputs, ports)
    subject = artifact_of(work.job.inputs, _SUBJECTS[work.suite, work.arm])
    arm = _open_arm(work, subject, ports)
    command: RecordItem | None = None
    for item_id in work.item_ids:
        wish = tell() if command is None else tell(command)
        if wish is not Wish.GO_ON:
            return None
        answer = arm.answer(test[sample_id_of(item_id)], item_id)
        command = RecordItem(item=_item(work, item_id, subject, answer, ports))
    return command


def _item(work: EvaluateItems, item_id: str, subject: Artifact, answer: Answer, ports: Ports) -> ItemEvaluated:
    transcript = {"schema": "kd.transcript/1", "suite": work.suite, "arm": work.arm, "item_id": item_id, **answer.transcript}
    if ports.has_secret(str(transcript.get("text", ""))):
        transcript["output_ids"] = []  # they spell what the text must not say
    text = json.dumps(transcript, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return ItemEvaluated(
        suite=work.suite,
        arm=work.arm,
        item_id=item_id,
        subject=subject.digest,
        outcome=answer.outcome,
        scores=answer.scores,
        transcript=ports.keep_text(text.encode()),
    )


def _open_arm(work: EvaluateItems, subject: Artifact, ports: Ports) -> Arm:
    config, inputs = work.job.config, work.job.inputs
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(mode=True)
    tokenizer = _tokenizer(inputs, ports)
    match work.suite:
        case "lm":
            return _likelihood_arm(work, tokenizer, subject, ports)
        case "tool_use":
            engine = _engine(subject, config.threads, ports)
            return ToolUse(engine=engine, tokenizer=tokenizer, config=config.tool_use, is_constrained=work.arm == "constrained")
        case "speed":
            return Speed(engine=_engine(subject, config.threads, ports), tokenizer=tokenizer, config=config.speed)
        case _:
            assert_never(work.suite)


def _likelihood_arm(work: EvaluateItems, tokenizer: ChatTokenizer, subject: Artifact, ports: Ports) -> Arm:
    store = SignalStore.open(ports.fetch(artifact_of(work.job.inputs, "signal")), "test")
    if store.header.tokenizer != tokenizer.digest:
        raise StageError(
            "lm",
            f"The signal was made with tokenizer {store.header.tokenizer[:12]}, the student has {tokenizer.digest[:12]}:"
            " both must be the same; train the student with the teacher's tokenizer.",
            is_retryable=False,
        )
    absent = sorted(set(work.item_ids) - set(store.sample_ids))
    if absent:
        raise StageError(
            "lm",
            f"The signal has no distributions for {len(absent)} test samples, {absent[0]} first: generate it again.",
            is_retryable=False,
        )
    if work.arm == "teacher":
        return TeacherLikelihood(tokenizer=tokenizer, store=store)
    student = load_student(ports.fetch(subject)).eval()
    return ModelLikelihood(student=student, tokenizer=tokenizer, store=store)


def _test_samples(inputs: tuple[Artifact, ...], ports: Ports) -> dict[str, Sample]:
    """The held-out samples by id, read and checked once."""
    artifact = artifact_of(inputs, "dataset")

    def read() -> nullcontext[dict[str, Sample]]:
        return nullcontext({sample.id: sample for sample in read_dataset(ports.fetch(artifact)).test})

    return ports.resources.get(f"evaluation.test/{artifact.digest}", read)


def _tokenizer(inputs: tuple[Artifact, ...], ports: Ports) -> ChatTokenizer:
    artifact = artifact_of(inputs, "student")
    return ports.resources.get(f"evaluation.tokenizer/{artifact.digest}", lambda: nullcontext(ChatTokenizer.load(ports.fetch(artifact))))


def _engine(export: Artifact, threads: int, ports: Ports) -> OrtEngine:
    """The exported student, opened once for all arms."""
    folder: Path = ports.fetch(export)
    return ports.resources.get(f"evaluation.engine/{export.digest}", lambda: nullcontext(OrtEngine(folder, threads=threads)))


def _kept(measurements: tuple[Measurement, ...], ports: Ports) -> Artifact:
    folder = ports.new_folder("evaluation")
    (folder / "measurements.json").write_bytes(measurements_to_json(measurements))
    return ports.keep("measurements.evaluation", folder)
