"""Before the first step: data, vocabulary, first weights and the plan of batches are settled, or refused with a reason."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from kd.artifacts import Artifact, artifact_of, find_artifact
from kd.dataset.canonical import canonical_json, structure
from kd.dataset.shards import Dataset, read_dataset
from kd.errors import StageError
from kd.models.logit_store import SignalStore
from kd.models.student import Student, evenly_spaced_layers, load_teacher, random_student, read_architecture, save_student
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.training.arithmetic import environment, seed_of
from kd.training.batches import TERMS, Plan, Row, micro_batches, plan_steps, read_rows
from kd.training.commands import RecordPreparation
from kd.training.config import TrainingConfig, student_architecture
from kd.training.events import BatchesPlanned, StudentInitialised, VocabularyBound
from kd.training.states import Course, Job

__all__ = ["Data", "keep_student", "prepare", "read_data", "read_plan"]


@frozen(kw_only=True, eq=False)
class Data:
    """Rows of the two splits that training reads."""

    train: tuple[Row, ...]
    val: tuple[Row, ...]
    dropped: dict[str, int]


def prepare(job: Job, ports: Ports) -> RecordPreparation:
    """Settle everything; StageError, not retryable, if inputs and settings do not fit together."""
    vocabulary = _bind_vocabulary(job, ports)
    data = read_data(job, ports)
    weights = _term_weights(job.config, data.train)
    student, layers = _first_student(job, ports)
    initialised = StudentInitialised(
        student=keep_student(student, "untrained_student", job, ports),
        init=job.config.init,
        layers=layers,
        num_params=student.architecture.num_params,
        environment=environment(),
    )
    return RecordPreparation(vocabulary=vocabulary, student=initialised, batches=_plan_batches(job, data, weights, ports))


def read_data(job: Job, ports: Ports) -> Data:
    """The rows in use; every byte of the data set is checked."""
    tokenizer = ChatTokenizer.load(ports.fetch(artifact_of(job.inputs, "teacher")))
    dataset = read_dataset(ports.fetch(artifact_of(job.inputs, "dataset")))
    signal = find_artifact(job.inputs, "signal")
    folder = None if signal is None else ports.fetch(signal)
    rows, dropped = {}, Counter[str]()
    for split in ("train", "val"):
        store = None if folder is None else SignalStore.open(folder, split)
        rows[split], counts = read_rows(dataset.split(split), tokenizer, store, length=job.config.length)
        dropped.update(counts)
    return Data(train=rows["train"], val=rows["val"][: job.config.validate.rows], dropped=dict(sorted(dropped.items())))


def read_plan(course: Course, ports: Ports) -> Plan:
    """The plan that was recorded."""
    return structure(json.loads(ports.read_bytes(course.plan)), Plan)


def keep_student(student: Student, kind: str, job: Job, ports: Ports) -> Artifact:
    """Store `student` with its tokenizer as an artifact of `kind`."""
    folder = ports.new_folder(kind)
    save_student(student, folder)
    teacher = ports.fetch(artifact_of(job.inputs, "teacher"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(teacher / name, folder / name)
    return ports.keep(kind, folder)


def _bind_vocabulary(job: Job, ports: Ports) -> VocabularyBound:
    teacher = ports.fetch(artifact_of(job.inputs, "teacher"))
    tokenizer = ChatTokenizer.load(teacher)
    dataset = read_dataset(ports.fetch(artifact_of(job.inputs, "dataset")))
    _check_same("data set", dataset.manifest.origin.tokenizer, "tokenizer", tokenizer.digest)
    vocab_size = read_architecture(teacher).vocab_size
    if vocab_size != tokenizer.vocab_size:
        raise _refusal(
            f"The tokenizer has {tokenizer.vocab_size} ids and the teacher {vocab_size}, expected as many: use a teacher whose"
            " vocabulary is that of its tokenizer."
        )
    signal = find_artifact(job.inputs, "signal")
    if signal is not None:
        _check_signal(ports.fetch(signal), dataset, tokenizer)
    elif job.config.loss.kd.weight:
        raise _refusal(
            f"loss.kd.weight is {job.config.loss.kd.weight}, but no teacher distributions were handed over: set it to 0 or"
            " score the data set."
        )
    return VocabularyBound(decision="exact", tokenizer=tokenizer.digest, num_shared=tokenizer.vocab_size)


def _check_signal(folder: Path, dataset: Dataset, tokenizer: ChatTokenizer) -> None:
    header = SignalStore.open(folder, "train").header
    _check_same("signal", header.tokenizer, "tokenizer", tokenizer.digest)
    _check_same("signal", header.dataset, "data set", dataset.manifest.digest)
    if header.vocab_size != tokenizer.vocab_size:
        raise _refusal(
            f"The signal has a vocabulary of {header.vocab_size}, expected {tokenizer.vocab_size}: score the data set with this teacher."
        )


def _check_same(whose: str, found: str, what: str, expected: str) -> None:
    if found != expected:
        raise _refusal(
            f"The {whose} was made with another {what} ({found[:12]}), expected {expected[:12]}: generate it again with this teacher."
        )


def _term_weights(config: TrainingConfig, rows: Sequence[Row]) -> dict[str, float]:
    """The weight of each term of the loss; a term that is switched on but has no data is refused."""
    if not rows:
        raise _refusal(f"No training row of at most {config.length} tokens has a target: raise training.length or generate more data.")
    counts = {term: sum(row.num_tokens(term) for row in rows) for term in TERMS}
    weights = config.loss.weights(counts)
    for term, weight in weights.items():
        if weight and not counts[term]:
            raise _refusal(
                f"loss.{term}.weight is {weight}, but no training token counts for it: set it to 0 or generate data of that kind."
            )
    if not any(weights.values()):
        raise _refusal("No term of the loss has both a weight and tokens, expected something to learn: raise a weight or generate data.")
    return weights


def _first_student(job: Job, ports: Ports) -> tuple[Student, tuple[int, ...]]:
    teacher = ports.fetch(artifact_of(job.inputs, "teacher"))
    shape = read_architecture(teacher)
    try:
        architecture = student_architecture(job.config, shape)
        layers = evenly_spaced_layers(shape.num_layers, architecture.num_layers) if job.config.init == "teacher" else ()
    except ValueError as error:
        raise _refusal(f"training.student does not fit: {error}") from error
    if job.config.length > architecture.max_context_tokens:
        raise _refusal(
            f"training.length is {job.config.length}, the student's context {architecture.max_context_tokens}: lower the length."
        )
    if layers:
        return load_teacher(teacher, layers=layers), layers
    return random_student(architecture, seed_of(job.seed, "training/init")), ()


def _plan_batches(job: Job, data: Data, weights: dict[str, float], ports: Ports) -> BatchesPlanned:
    config, lengths = job.config, [len(row.ids) for row in data.train]
    plan = plan_steps(lengths, num_steps=config.steps, batch_tokens=config.batch_tokens, seed=seed_of(job.seed, "training/order"))
    num_tokens, num_padded, terms = 0, 0, Counter[str]()
    num_targets = 0
    for step in range(1, config.steps + 1):
        rows = plan.rows_of(step)
        of_step = [lengths[row] for row in rows]
        num_tokens += sum(of_step)
        num_padded += sum(len(cut) * of_step[cut[0]] for cut in micro_batches(of_step, config.micro_batch_tokens))
        num_targets += sum(len(data.train[row].targets) for row in rows)
        for term in TERMS:
            terms[term] += sum(data.train[row].num_tokens(term) for row in rows)
    return BatchesPlanned(
        plan=ports.keep_bytes(canonical_json(plan)),
        num_rows=len(data.train),
        num_val_rows=len(data.val),
        num_steps=config.steps,
        num_epochs=plan.starts[-1] / plan.num_rows,
        num_tokens=num_tokens,
        num_supervised_tokens=num_targets,
        num_term_tokens=dict(sorted(terms.items())),
        term_weights=weights,
        dropped=data.dropped,
        padding_fraction=1 - num_tokens / num_padded,
    )


def _refusal(reason: str) -> StageError:
    return StageError("Prepare", reason, is_retryable=False)
