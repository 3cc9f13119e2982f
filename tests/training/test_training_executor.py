"""The training stage at work: whole, stopped, killed, damaged, altered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from attrs import evolve as replace
from attrs import frozen

from kd.artifacts import Artifact
from kd.errors import DigestMismatchError, PauseNeededError, StageError
from kd.models.student import load_student, load_teacher, save_student
from kd.ports import Ports, Resources
from kd.stage import Wish
from kd.training.arithmetic import seed_of
from kd.training.batches import make_batch
from kd.training.checkpoints import check_room, verified_files
from kd.training.config import LossConfig, StudentConfig, TermConfig
from kd.training.events import (
    BatchesPlanned,
    CheckpointRejected,
    CheckpointSaved,
    ReproductionFailed,
    StepCompleted,
    StepSkipped,
    StepsReproduced,
    TrainingCompleted,
    TrainingEvent,
    TrainingResumed,
    ValidationCompleted,
)
from kd.training.executor import execute
from kd.training.machine import STAGE
from kd.training.preparation import read_data
from kd.training.sampler import row_at
from kd.training.states import Failed, Job
from ledger.errors import BlobMissingError
from tests.fakes import Teller, make_ports, run_stage
from tests.training.toy import CONFIG, TEACHER, start_command, toy_inputs, toy_sample, toy_samples, toy_tokenizer


class Killed(BaseException):
    """The process dies here."""


@frozen(kw_only=True)
class Finished:
    """An undisturbed run."""

    events: tuple[TrainingEvent, ...]
    outputs: tuple[Artifact, ...]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    ports = make_ports(tmp_path_factory.mktemp("undisturbed"))
    _, events = run_stage(STAGE, execute, start_command(ports), ports)
    ports.resources.close()
    assert isinstance(events[-1], TrainingCompleted)
    return Finished(events=events, outputs=events[-1].outputs)


class KillingTeller(Teller):
    """Dies after a number of recorded steps."""

    steps_to_live = 10**9

    def handle(self, command: object) -> tuple[object, ...]:
        events = super().handle(command)
        self.steps_to_live -= sum(isinstance(event, StepCompleted) for event in events)
        if self.steps_to_live <= 0:
            raise Killed
        return events


def _continue(tell: Teller, ports: Ports) -> None:
    """Do what is pending, as a new process would, until the stage ends, stops or dies."""
    ports.resources = Resources()
    try:
        while (work := STAGE.decider.pending(tell.state)) is not None:
            command = execute(work, ports, tell)
            if command is None:
                return
            tell.handle(command)
    finally:
        ports.resources.close()


def _begun(tmp_path: Path, *, killed_after: int) -> tuple[KillingTeller, Ports]:
    """A training whose process died after some recorded steps."""
    ports, tell = make_ports(tmp_path), KillingTeller(STAGE)
    tell.handle(start_command(ports))
    tell.steps_to_live = killed_after
    with pytest.raises(Killed):
        _continue(tell, ports)
    tell.steps_to_live = 10**9
    return tell, ports


def _of(events: Iterable[object], *kinds: type) -> list[object]:
    return [event for event in events if isinstance(event, kinds)]


def _bits(events: Iterable[object]) -> list[tuple[int, str, str, str]]:
    return [(e.step, e.batch_digest, e.loss_bits, e.grad_norm_bits) for e in events if isinstance(e, StepCompleted)]


def test_a_training_hands_over_both_students(undisturbed: Finished, tmp_path: Path) -> None:
    """Trained and untrained student are whole model folders, and the loss fell."""
    assert [output.kind for output in undisturbed.outputs] == ["student", "untrained_student"]
    names = [file.path for file in undisturbed.outputs[0].files]
    assert names == ["architecture.json", "tokenizer.json", "tokenizer_config.json", "weights.safetensors"]
    losses = [event.loss_nats for event in undisturbed.events if isinstance(event, StepCompleted)]
    assert len(losses) == CONFIG.steps
    assert losses[-1] < losses[0]
    ports = make_ports(tmp_path)
    _, events = run_stage(STAGE, execute, start_command(ports), ports)
    assert events[-1] == undisturbed.events[-1]
    student = load_student(ports.fetch(undisturbed.outputs[0]))
    assert student.architecture == replace(TEACHER, num_layers=2)


def test_every_step_sees_the_rows_of_its_plan(undisturbed: Finished, tmp_path: Path) -> None:
    """Step s takes the positions after those of step s − 1, and rows follow from positions by arithmetic."""
    ports = make_ports(tmp_path)
    job = Job(config=CONFIG, inputs=toy_inputs(ports), seed=7)
    rows, position = read_data(job, ports).train, 0
    for event in undisturbed.events:
        if isinstance(event, StepCompleted):
            taken = [rows[row_at(position, len(rows), seed_of(7, "training/order"))]]
            while sum(len(row.ids) for row in taken) < event.num_tokens:
                taken.append(rows[row_at(position + len(taken), len(rows), seed_of(7, "training/order"))])
            assert make_batch(taken, 10_000).digest == event.batch_digest
            position += len(taken)
    planned = next(event for event in undisturbed.events if isinstance(event, BatchesPlanned))
    assert position == round(planned.num_epochs * len(rows))


def test_validations_and_checkpoints_come_when_they_are_due(undisturbed: Finished) -> None:
    """Measured at steps 4 and 8, stored at 3 and 6; after the last step there is nothing to store."""
    assert [event.step for event in undisturbed.events if isinstance(event, ValidationCompleted)] == [4, 8]
    assert [event.step for event in undisturbed.events if isinstance(event, CheckpointSaved)] == [3, 6]
    metrics = next(event.metrics for event in undisturbed.events if isinstance(event, ValidationCompleted))
    assert [metric.name for metric in metrics] == ["nll_nats", "entropy_nats", "kl_nats", "top1_agreement"]


@pytest.mark.parametrize(("killed_after", "checkpoint"), [(1, 0), (3, 0), (4, 3), (8, 6)])
def test_a_killed_training_ends_in_the_same_student(undisturbed: Finished, tmp_path: Path, killed_after: int, checkpoint: int) -> None:
    """Steps after the checkpoint are repeated with equal bits, none is recorded twice, and the weights are the same."""
    tell, ports = _begun(tmp_path, killed_after=killed_after)
    _continue(tell, ports)
    assert tell.events[-1] == undisturbed.events[-1]
    assert _bits(tell.events) == _bits(undisturbed.events)
    assert len(_of(tell.events, TrainingResumed)) == 1
    expected = [StepsReproduced(first=checkpoint + 1, last=killed_after, result="bitwise", difference=0.0)]
    assert _of(tell.events, StepsReproduced) == expected


def test_a_training_killed_in_its_seal_hands_over_the_same(undisturbed: Finished, tmp_path: Path) -> None:
    """Sealing restores, repeats and writes the same bytes."""
    tell, ports = Teller(STAGE), make_ports(tmp_path)
    tell.handle(start_command(ports))
    while type(STAGE.decider.pending(tell.state)).__name__ != "Seal":
        command = execute(STAGE.decider.pending(tell.state), ports, tell)
        assert command is not None
        tell.handle(command)
    ports.resources.close()
    _continue(tell, ports)
    assert tell.events[-1] == undisturbed.events[-1]


def test_told_to_stop_it_stores_a_checkpoint_first(undisturbed: Finished, tmp_path: Path) -> None:
    """A pause loses nothing: the next process repeats no step."""
    ports, tell = make_ports(tmp_path), Teller(STAGE, wishes=[Wish.GO_ON, Wish.STOP, Wish.STOP])
    tell.handle(start_command(ports))
    _continue(tell, ports)
    assert [event.step for event in tell.events if isinstance(event, CheckpointSaved)] == [2]
    _continue(tell, ports)
    assert tell.events[-1] == undisturbed.events[-1]
    assert not _of(tell.events, StepsReproduced)


def test_told_to_stop_at_once_it_stores_nothing(undisturbed: Finished, tmp_path: Path) -> None:
    """The steps since the last checkpoint are repeated instead."""
    ports, tell = make_ports(tmp_path), Teller(STAGE, wishes=[Wish.GO_ON, Wish.STOP_NOW])
    tell.handle(start_command(ports))
    _continue(tell, ports)
    assert not _of(tell.events, CheckpointSaved)
    _continue(tell, ports)
    assert tell.events[-1] == undisturbed.events[-1]
    assert _of(tell.events, StepsReproduced) == [StepsReproduced(first=1, last=2, result="bitwise", difference=0.0)]


def test_told_to_stop_while_repeating_it_stops(undisturbed: Finished, tmp_path: Path) -> None:
    """A stop during the repetition records nothing but the resume, and costs nothing."""
    tell, ports = _begun(tmp_path, killed_after=3)
    tell._wishes = iter([Wish.GO_ON, Wish.STOP])
    _continue(tell, ports)
    assert isinstance(tell.events[-1], TrainingResumed)
    _continue(tell, ports)
    assert tell.events[-1] == undisturbed.events[-1]


def _blob_path(ports: Ports, checkpoint: Artifact, name: str) -> Path:
    return ports.blobs.path(checkpoint.file(name))


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("weights.safetensors", "one bit"),
        ("optimizer.safetensors", "one bit"),
        ("state.json", "one bit"),
        ("weights.safetensors", "cut"),
        ("optimizer.safetensors", "missing"),
    ],
)
def test_a_damaged_checkpoint_is_rejected_for_the_one_before(undisturbed: Finished, tmp_path: Path, name: str, harm: str) -> None:
    """One altered bit, a missing end or a missing file: the event names it, the previous checkpoint is used, the end is the same."""
    tell, ports = _begun(tmp_path, killed_after=7)
    newest = [event for event in tell.events if isinstance(event, CheckpointSaved)][-1]
    path = _blob_path(ports, newest.checkpoint, name)
    if harm == "one bit":
        _damage(path)
    elif harm == "cut":
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[:-1])
    else:
        path.unlink()
    _continue(tell, ports)
    (rejected,) = [event for event in tell.events if isinstance(event, CheckpointRejected)]
    assert rejected.step == newest.step == 6
    assert rejected.file == name
    assert [event.checkpoint for event in tell.events if isinstance(event, TrainingResumed)] == [3]
    assert tell.events[-1] == undisturbed.events[-1]


def test_with_all_checkpoints_damaged_nothing_goes_on(tmp_path: Path) -> None:
    """It is an integrity error, in this and in every later process."""
    tell, ports = _begun(tmp_path, killed_after=7)
    for event in [event for event in tell.events if isinstance(event, CheckpointSaved)]:
        _damage(_blob_path(ports, event.checkpoint, "weights.safetensors"))
    for _ in range(2):
        with pytest.raises(DigestMismatchError, match="it was altered"):
            _continue(tell, ports)
    assert len(_of(tell.events, CheckpointRejected)) == 2
    assert not _of(tell.events, TrainingResumed)


@pytest.mark.parametrize("field", ["batch_digest", "loss_bits", "grad_norm_bits"])
def test_a_step_that_comes_out_otherwise_fails_the_stage(tmp_path: Path, field: str) -> None:
    """Whatever differs from the record is named, with both values, and cannot be retried."""
    tell, ports = _begun(tmp_path, killed_after=5)
    state = tell.state
    records = tuple(replace(record, **{field: "0" * 16}) if record.step == 4 else record for record in state.course.records)
    tell.state = replace(state, course=replace(state.course, records=records))
    _continue(tell, ports)
    (failure,) = [event for event in tell.events if isinstance(event, ReproductionFailed)]
    assert (failure.step, failure.field, failure.recorded) == (4, field, "0" * 16)
    assert isinstance(tell.state, Failed)
    assert not tell.state.is_retryable


def test_an_altered_weight_is_found_at_the_first_step(tmp_path: Path) -> None:
    """Weights that are whole but not those that were trained give other bits at once."""
    tell, ports = _begun(tmp_path, killed_after=5)
    files = verified_files(tell.state.course.checkpoints[-1].artifact, ports)
    folder = ports.new_folder("altered")
    for name, path in files.items():
        (folder / name).write_bytes(path.read_bytes())
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    known = tell.state.course.checkpoints[-1]
    altered = replace(known, artifact=ports.keep("checkpoint", folder))
    tell.state = replace(tell.state, course=replace(tell.state.course, checkpoints=(altered,)))
    _continue(tell, ports)
    (failure,) = [event for event in tell.events if isinstance(event, ReproductionFailed)]
    assert failure.step == 4


def test_another_environment_may_differ_in_the_last_bits(undisturbed: Finished, tmp_path: Path) -> None:
    """Steps executed elsewhere must agree within a thousandth, and the difference is named."""
    tell, ports = _begun(tmp_path, killed_after=5)
    course = tell.state.course
    there = replace(course.environment, instruction_set="another")
    records = tuple(replace(r, environment=there, loss_bits=r.loss_bits[:-1] + "0") for r in course.records)
    tell.state = replace(tell.state, course=replace(course, records=records))
    _continue(tell, ports)
    (reproduced,) = [event for event in tell.events if isinstance(event, StepsReproduced)]
    assert reproduced.result == "within"
    assert 0 < reproduced.difference < 1e-14
    assert tell.events[-1] == undisturbed.events[-1]


def test_a_missing_untrained_student_is_an_integrity_error(tmp_path: Path) -> None:
    """Without it nothing can be repeated."""
    tell, ports = _begun(tmp_path, killed_after=2)
    path = ports.blobs.path(tell.state.course.student.file("weights.safetensors"))
    path.unlink()
    ports.scratch = tmp_path / "other scratch"
    ports.scratch.mkdir()
    with pytest.raises(BlobMissingError):
        _continue(tell, ports)


def test_three_steps_in_a_row_that_are_not_finite_end_the_training(tmp_path: Path) -> None:
    """They are recorded as skipped, and the failure says what to change."""
    ports, tell = make_ports(tmp_path), Teller(STAGE)
    command = start_command(ports, init="teacher")
    teacher = load_teacher(ports.fetch(command.inputs[0]))
    with torch.no_grad():
        teacher.model.norm.weight[0] = torch.inf
    folder = ports.new_folder("spoilt")
    save_student(teacher, folder)
    toy_tokenizer().save(folder)
    tell.handle(replace(command, inputs=(ports.keep("teacher", folder), *command.inputs[1:])))
    with pytest.raises(StageError, match="3 steps in a row had no finite loss") as caught:
        _continue(tell, ports)
    assert not caught.value.is_retryable
    assert len(_of(tell.events, StepSkipped)) == 3
    assert not _of(tell.events, StepCompleted)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"length": 10}, "No training row of at most 10 tokens has a target"),
        ({"student": StudentConfig(num_layers=9), "init": "teacher"}, "9 layers were asked of a model that has 3"),
        ({"student": StudentConfig(num_heads=3)}, "num_heads is 3, which is no multiple of num_kv_heads = 2"),
        ({"length": 300}, "training.length is 300, the student's context 256"),
    ],
)
def test_settings_that_do_not_fit_end_before_the_first_step(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    """The reason is one sentence, and another try cannot help."""
    ports = make_ports(tmp_path)
    with pytest.raises(StageError, match=reason) as caught:
        run_stage(STAGE, execute, start_command(ports, **changes), ports)
    assert not caught.value.is_retryable


def test_a_term_without_data_ends_before_the_first_step(tmp_path: Path) -> None:
    """A term that is switched on but has no tokens is a mistake, not a zero."""
    ports = make_ports(tmp_path)
    known = [toy_sample(index, "train") for index in range(1, 9, 2)]
    others = [sample for sample in toy_samples() if sample.split != "train"]
    command = start_command(ports)
    inputs = toy_inputs(ports, [*known, *others])
    switched_on = replace(CONFIG, loss=LossConfig(ce_teacher=TermConfig(weight=0.2)))
    with pytest.raises(StageError, match=r"loss\.ce_teacher\.weight is 0\.2, but no training token counts for it"):
        run_stage(STAGE, execute, replace(command, inputs=inputs, config=switched_on), ports)
    _, events = run_stage(STAGE, execute, replace(command, inputs=inputs), ports)
    assert events[3].term_weights == {"kd": 0.6, "ce_teacher": 0.0, "ce_truth": 0.2}
    assert isinstance(events[-1], TrainingCompleted)


def test_a_signal_of_another_data_set_is_refused(tmp_path: Path) -> None:
    """Distributions are of one data set, named by its digest."""
    ports = make_ports(tmp_path)
    command = start_command(ports)
    others = toy_inputs(ports, toy_samples()[1:])
    mixed = (*command.inputs[:2], others[2])
    with pytest.raises(StageError, match="The signal was made with another data set"):
        run_stage(STAGE, execute, replace(command, inputs=mixed), ports)


def test_without_signal_only_cross_entropy_can_be_trained(tmp_path: Path) -> None:
    """kd without distributions is refused; with its weight at 0 it is not missed."""
    ports = make_ports(tmp_path)
    command = start_command(ports)
    inputs = tuple(artifact for artifact in command.inputs if artifact.kind != "signal")
    with pytest.raises(StageError, match="no teacher distributions were handed over"):
        run_stage(STAGE, execute, replace(command, inputs=inputs), ports)
    config = replace(CONFIG, loss=LossConfig(kd=TermConfig(weight=0.0)))
    _, events = run_stage(STAGE, execute, replace(command, inputs=inputs, config=config), ports)
    assert isinstance(events[-1], TrainingCompleted)


def test_a_student_of_the_teachers_layers_begins_as_they_are(tmp_path: Path) -> None:
    """Init `teacher` copies first and last layer, and trains on from there."""
    ports = make_ports(tmp_path)
    state, events = run_stage(STAGE, execute, start_command(ports, init="teacher"), ports)
    student = load_student(ports.fetch(state.outputs[1])).state_dict()
    teacher = load_student(ports.fetch(start_command(ports).inputs[0])).state_dict()
    assert events[2].layers == (0, 2)
    assert torch.equal(student["model.layers.1.mlp.up_proj.weight"], teacher["model.layers.2.mlp.up_proj.weight"])


def test_a_full_disk_pauses_before_the_checkpoint() -> None:
    """The run says how much room it needs; with room for two checkpoints it goes on."""
    with pytest.raises(PauseNeededError, match="need 1189 MB of free disk, 600 MB are left: free some space, then resume") as caught:
        check_room(600_000_000, 49_552_704)
    assert caught.value.cause == "disk"
    check_room(1_200_000_000, 49_552_704)
