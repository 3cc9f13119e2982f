"""The export stage as a pure state machine: Idle → Verifying → Exporting → Completed, and to Failed from every state at work.

What does not pass its parity, or breaks an invariant, fails the stage and is not tried again: equal inputs give equal programs.
"""

from __future__ import annotations

from typing import assert_never

from attrs import evolve as replace
from attrs import frozen

from kd.artifacts import Artifact
from kd.export.config import ExportConfig
from kd.export.events import (
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
from kd.export.states import (
    Basis,
    Completed,
    ExportHf,
    Exporting,
    ExportOnnx,
    ExportProgram,
    Failed,
    Idle,
    Seal,
    State,
    Verifying,
    VerifyTwin,
    Work,
    Working,
)
from kd.stage import Outcome, Progress, Stage
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = [
    "STAGE",
    "Checks",
    "Command",
    "FailExport",
    "Record",
    "RecordHf",
    "RecordOnnx",
    "RecordProgram",
    "RecordTwin",
    "RetryExport",
    "SealExport",
    "StartExport",
    "decide",
    "evolve",
    "pending",
]


@frozen(kw_only=True)
class Checks:
    """What was measured on one piece."""

    parity: ParityMeasured
    invariants: tuple[InvariantChecked, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why the piece cannot be used, or None."""
        broken = [
            f"{one.invariant} of {one.function} moved {one.worst:.3g}, limit {one.limit:g}" for one in self.invariants if not one.is_held
        ]
        if self.parity.status == "pass" and not broken:
            return None
        found = "; ".join((*self.parity.findings, *broken))
        verdict = "is inconclusive" if self.parity.status == "inconclusive" and not broken else "does not hold"
        return f"Parity of {self.parity.candidate} {verdict}: {found}. It was not handed on; export a student that training completed."


@frozen(kw_only=True)
class StartExport:
    """Export the student among `inputs`."""

    config: ExportConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class RecordTwin:
    """The twin was compared with the training model."""

    fact: TwinVerified
    checks: Checks


@frozen(kw_only=True)
class RecordProgram:
    """A program was exported and checked."""

    fact: ProgramExported
    checks: Checks


@frozen(kw_only=True)
class RecordOnnx:
    """The ONNX graph was exported and checked."""

    fact: OnnxExported
    checks: Checks


@frozen(kw_only=True)
class RecordHf:
    """The Hugging Face folder was written and checked."""

    fact: HfExported
    checks: Checks


@frozen(kw_only=True)
class SealExport:
    """Everything was put together."""

    fact: ContractSealed
    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class FailExport:
    """The export cannot go on."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryExport:
    """Take a retryable failure up again."""


Record = RecordTwin | RecordProgram | RecordOnnx | RecordHf
Command = StartExport | Record | SealExport | FailExport | RetryExport


def decide(command: Command, state: State) -> tuple[ExportEvent, ...]:
    """The events that `command` brings about in `state`, or CommandRejectedError."""
    match command, state:
        case StartExport(config=config, inputs=inputs, seed=seed), Idle():
            return (ExportStarted(config=config, inputs=inputs, seed=seed),)
        case RecordTwin(), Verifying():
            return _recorded(command, "twin")
        case RecordProgram(fact=fact), Exporting(next_function=name) if fact.function == name:
            return _recorded(command, fact.function)
        case RecordOnnx(), Exporting(next_function=None, onnx=None):
            return _recorded(command, "onnx")
        case RecordHf(), Exporting(needs_hf=True) if state.onnx is not None:
            return _recorded(command, "hf")
        case SealExport(fact=sealed, outputs=outputs), Exporting() if state.num_done == state.num_pieces:
            return (sealed, ExportCompleted(outputs=outputs))
        case FailExport(step=step, reason=reason, is_retryable=is_retryable), Verifying() | Exporting():
            return (ExportFailed(step=step, reason=reason, is_retryable=is_retryable),)
        case RetryExport(), Failed(is_retryable=True):
            return (ExportRetried(),)
        case _:
            raise CommandRejectedError(command, state, f"{type(command).__name__} does not fit the state {type(state).__name__}.")


def evolve(state: State, event: ExportEvent) -> State:
    """The state after `event`."""
    match event:
        case ExportStarted(config=config, inputs=inputs, seed=seed):
            return Verifying(basis=Basis(config=config, inputs=inputs, seed=seed))
        case ExportCompleted(outputs=outputs):
            return Completed(outputs=outputs)
        case ExportFailed(step=step, reason=reason, is_retryable=is_retryable):
            assert isinstance(state, Working)
            return Failed(step=step, reason=reason, is_retryable=is_retryable, before=state)
        case ExportRetried():
            assert isinstance(state, Failed)
            return state.before
        case ParityMeasured(measurements=measurements):
            assert isinstance(state, Working)
            return replace(state, measurements=(*state.measurements, *measurements))
        case TwinVerified():
            assert isinstance(state, Verifying)
            return Exporting(basis=state.basis, measurements=state.measurements)
        case ProgramExported() | OnnxExported() | HfExported():
            assert isinstance(state, Exporting)
            return _with_piece(state, event)
        case InvariantChecked() | ContractSealed():
            return state
        case _:
            assert_never(event)


def pending(state: State) -> Work | None:
    """The work that `state` asks for."""
    match state:
        case Idle() | Completed() | Failed():
            return None
        case Verifying(basis=basis):
            return VerifyTwin(basis=basis)
        case Exporting(basis=basis, next_function=str(function)):
            return ExportProgram(basis=basis, function=function)
        case Exporting(basis=basis, onnx=None):
            return ExportOnnx(basis=basis)
        case Exporting(basis=basis, needs_hf=True):
            return ExportHf(basis=basis)
        case Exporting(basis=basis):
            assert state.onnx is not None
            return Seal(basis=basis, programs=state.programs, onnx=state.onnx, hf=state.hf, measurements=state.measurements)
        case _:
            assert_never(state)


def _recorded(command: Record, step: str) -> tuple[ExportEvent, ...]:
    """The checks, then the fact; the fact is not recorded of a piece that fails them."""
    checked: tuple[ExportEvent, ...] = (command.checks.parity, *command.checks.invariants)
    problem = command.checks.problem
    if problem is None:
        return (*checked, command.fact)
    return (*checked, ExportFailed(step=step, reason=problem, is_retryable=False))


def _with_piece(state: Exporting, event: ProgramExported | OnnxExported | HfExported) -> Exporting:
    match event:
        case ProgramExported():
            return replace(state, programs=(*state.programs, event))
        case OnnxExported():
            return replace(state, onnx=event)
        case HfExported():
            return replace(state, hf=event)
        case _:
            assert_never(event)


def _outcome(state: State) -> Outcome | None:
    return state if isinstance(state, Completed | Failed) else None


def _progress(state: State) -> Progress | None:
    if isinstance(state, Exporting):
        return Progress(done=state.num_done, total=state.num_pieces, unit="programs and formats")
    return None


STAGE = Stage(
    name="export",
    decider=Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending),
    start=lambda config, inputs, seed: StartExport(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailExport(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryExport,
    outcome=_outcome,
    progress=_progress,
    executor="kd.export.executor:execute",
)
