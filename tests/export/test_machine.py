"""The export machine: what follows what, and that nothing unproved is recorded."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.artifacts import Artifact, FileRef
from kd.evidence import Measurement
from kd.export.config import ExportConfig
from kd.export.events import (
    ENTRIES,
    ContractSealed,
    ExportCompleted,
    ExportEvent,
    ExportFailed,
    ExportRetried,
    ExportStarted,
    HfExported,
    InvariantChecked,
    OnnxExported,
    ParityMeasured,
    ProgramExported,
    TwinVerified,
)
from kd.export.machine import (
    STAGE,
    Checks,
    Command,
    FailExport,
    RecordHf,
    RecordOnnx,
    RecordProgram,
    RecordTwin,
    RetryExport,
    SealExport,
    StartExport,
)
from kd.export.states import Completed, ExportHf, ExportOnnx, ExportProgram, Failed, Seal, VerifyTwin
from kd.stage import Progress
from ledger.codec import Codec
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.record import BlobRef
from ledger.registry import Registry
from ledger.testing import decide_given

_BLOB = BlobRef(sha256="a" * 64, num_bytes=1)
_STUDENT = Artifact(kind="student", files=(FileRef(path="weights.safetensors", blob=_BLOB),))
_CONFIG = ExportConfig(lengths=(64,), primary=64)
_STARTED = ExportStarted(config=_CONFIG, inputs=(_STUDENT,), seed=1)
_TWIN = TwinVerified(model="b" * 64, num_params=10, num_held_out_sequences=8, num_drawn_sequences=0)
_PROGRAMS = tuple(
    ProgramExported(function=name, program=_BLOB, num_nodes=3, seconds=0.5) for name in ("prefill_64", "decode_64", "verify8_64")
)
_ONNX = OnnxExported(graph=_BLOB, opset=23, num_nodes=9, constants=(), seconds=0.5)
_HF = HfExported(files=_STUDENT.files, num_texts=1000, seconds=0.5)
_SEALED = ContractSealed(digest="c" * 64, contract=_BLOB)
_WHOLE: tuple[ExportEvent, ...] = (_STARTED, _TWIN, *_PROGRAMS, _ONNX, _HF)


def _checks(candidate: str, *, status: str = "pass", is_held: bool = True) -> Checks:
    measurement = Measurement(metric="psnr_db", suite="parity", slice=candidate, value=150.0, n=512)
    parity = ParityMeasured(candidate=candidate, row="fp32", status="pass", findings=(), measurements=(measurement,))
    if status != "pass":
        parity = replace(parity, status=status, findings=("logits psnr_db is 12, expected at least 100",))
    invariant = InvariantChecked(function=candidate, invariant="kv_live", is_held=is_held, worst=0.0, limit=1e-3)
    return Checks(parity=parity, invariants=(invariant,))


def _records() -> list[Command]:
    commands: list[Command] = [RecordTwin(fact=_TWIN, checks=_checks("twin"))]
    commands += [RecordProgram(fact=program, checks=_checks(program.function)) for program in _PROGRAMS]
    return [*commands, RecordOnnx(fact=_ONNX, checks=_checks("onnx")), RecordHf(fact=_HF, checks=_checks("hf"))]


@pytest.mark.parametrize(
    ("num_events", "work"),
    [(1, VerifyTwin), (2, ExportProgram), (4, ExportProgram), (5, ExportOnnx), (6, ExportHf), (7, Seal)],
)
def test_works_come_in_order(num_events: int, work: type) -> None:
    """Twin, programs, ONNX, Hugging Face, seal: what is pending follows from the events alone."""
    assert isinstance(STAGE.decider.pending(fold(STAGE.decider, _WHOLE[:num_events])), work)


def test_checks_are_recorded_before_the_fact_they_prove() -> None:
    """A piece is recorded after its parity and invariants."""
    checks = _checks("prefill_64")
    events = decide_given(STAGE.decider, _WHOLE[:2], RecordProgram(fact=_PROGRAMS[0], checks=checks))
    assert tuple(events) == (checks.parity, *checks.invariants, _PROGRAMS[0])


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize(("status", "is_held"), [("fail", True), ("inconclusive", True), ("pass", False)])
def test_what_does_not_hold_fails_the_stage_for_good(index: int, status: str, is_held: bool) -> None:
    """A parity that fails or is inconclusive, or a broken invariant: the fact is not recorded and no retry helps."""
    command = _records()[index]
    assert isinstance(command, (RecordTwin, RecordProgram, RecordOnnx, RecordHf))
    checks = _checks(command.checks.parity.candidate, status=status, is_held=is_held)
    events = tuple(decide_given(STAGE.decider, _WHOLE[: index + 1], replace(command, checks=checks)))
    assert events[:2] == (checks.parity, *checks.invariants)
    assert isinstance(events[-1], ExportFailed)
    assert not events[-1].is_retryable
    assert command.fact not in events
    failed = fold(STAGE.decider, (*_WHOLE[: index + 1], *events))
    with pytest.raises(CommandRejectedError):
        STAGE.decider.decide(RetryExport(), failed)


@pytest.mark.parametrize("num_events", range(8))
def test_only_the_command_that_is_due_is_accepted(num_events: int) -> None:
    """In every state one record fits; each other is refused and changes nothing."""
    state = fold(STAGE.decider, _WHOLE[:num_events])
    start: Command = StartExport(config=_CONFIG, inputs=(_STUDENT,), seed=1)
    order = [start, *_records(), SealExport(fact=_SEALED, outputs=())]
    for index, command in enumerate(order):
        if index == num_events:
            assert STAGE.decider.decide(command, state)
        else:
            with pytest.raises(CommandRejectedError):
                STAGE.decider.decide(command, state)


def test_sealing_completes_the_stage() -> None:
    """Contract and outputs end the stage, and the outcome is what was handed over."""
    events = tuple(decide_given(STAGE.decider, _WHOLE, SealExport(fact=_SEALED, outputs=(_STUDENT,))))
    assert events == (_SEALED, ExportCompleted(outputs=(_STUDENT,)))
    assert STAGE.outcome(fold(STAGE.decider, (*_WHOLE, *events))) == Completed(outputs=(_STUDENT,))


def test_a_retryable_failure_goes_on_where_it_stopped() -> None:
    """After a retry the state is what it was before the failure."""
    failed = decide_given(STAGE.decider, _WHOLE[:3], FailExport(step="decode_64", reason="disk", is_retryable=True))
    state = fold(STAGE.decider, (*_WHOLE[:3], *failed))
    assert isinstance(state, Failed)
    assert STAGE.decider.pending(state) is None
    (retried,) = STAGE.decider.decide(RetryExport(), state)
    assert retried == ExportRetried()
    assert STAGE.decider.evolve(state, retried) == fold(STAGE.decider, _WHOLE[:3])


def test_the_seal_gets_every_measurement() -> None:
    """Measurements of all pieces reach the artifact, in order."""
    state = STAGE.decider.initial
    for command in [StartExport(config=_CONFIG, inputs=(_STUDENT,), seed=1), *_records()]:
        state = fold(STAGE.decider, STAGE.decider.decide(command, state), state)
    work = STAGE.decider.pending(state)
    assert isinstance(work, Seal)
    assert [m.slice for m in work.measurements] == ["twin", "prefill_64", "decode_64", "verify8_64", "onnx", "hf"]


def test_without_hf_the_seal_follows_the_graph() -> None:
    """With `hf: false` nothing asks for the Hugging Face folder."""
    started = replace(_STARTED, config=replace(_CONFIG, hf=False))
    assert isinstance(STAGE.decider.pending(fold(STAGE.decider, (started, *_WHOLE[1:6]))), Seal)


def test_progress_counts_programs_and_formats() -> None:
    """Three programs, the graph and the Hugging Face folder are five pieces."""
    assert STAGE.progress(fold(STAGE.decider, _WHOLE[:4])) == Progress(done=2, total=5, unit="programs and formats")


def test_every_event_survives_the_ledger() -> None:
    """What is appended is read back equal."""
    events = (*_WHOLE, _checks("twin").parity, *_checks("twin").invariants, _SEALED, ExportCompleted(outputs=(_STUDENT,)))
    events = (*events, ExportFailed(step="twin", reason="why", is_retryable=False), ExportRetried())
    assert {type(event) for event in events} == {entry.cls for entry in ENTRIES}
    codec = Codec(Registry(ENTRIES))
    for event in events:
        encoded = codec.encode(event)
        assert codec.decode_whole(encoded.entry.name, encoded.entry.version, encoded.payload) == event
