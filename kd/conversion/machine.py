"""The machine of the conversion: convert every function once, then merge, audit and measure one preset after the other.

A preset that does not pass is refused and the others go on; a required one that is refused fails the stage.
"""

from __future__ import annotations

from typing import Final, assert_never

from attrs import evolve as replace

from kd.artifacts import artifact_of
from kd.conversion.commands import (
    Command,
    FailConversion,
    RecordAudits,
    RecordFunction,
    RecordMeasurements,
    RecordPackage,
    RecordParity,
    RefusePackage,
    RetryConversion,
    StartConversion,
)
from kd.conversion.events import (
    AUDITS,
    ArtifactRefused,
    ArtifactStamped,
    AuditCompleted,
    ConversionCompleted,
    ConversionFailed,
    ConversionRetried,
    ConversionStarted,
    Event,
    FunctionCompressed,
    FunctionConverted,
    InvariantChecked,
    PackageMerged,
    ParityMeasured,
)
from kd.conversion.states import (
    Auditing,
    AuditPackage,
    Completed,
    Converted,
    ConvertFunction,
    Converting,
    Failed,
    Idle,
    Job,
    KeepMeasurements,
    MeasureFunction,
    Measuring,
    MergePackage,
    Merging,
    Sealing,
    State,
    Work,
    Working,
    exported_functions,
)
from kd.stage import Completed as StageCompleted
from kd.stage import Failed as StageFailed
from kd.stage import Outcome, Progress, Stage
from ledger.decider import Decider
from ledger.errors import CommandRejectedError

__all__ = ["DECIDER", "STAGE", "decide", "evolve", "pending"]


def decide(command: Command, state: State) -> tuple[Event, ...]:
    """What may happen now; CommandRejectedError for anything else."""
    match command, state:
        case StartConversion(), Idle():
            return _start(command)
        case RecordFunction(), Converting() if command.function == _next_function(state):
            return (FunctionConverted(function=command.function, artifact=command.artifact, num_ops=command.num_ops),)
        case RecordPackage(), Merging() if command.preset == state.preset:
            return _merged(command, state)
        case RecordAudits(), Auditing() if command.preset == state.preset:
            return _audited(command, state)
        case RecordParity(), Measuring() if (command.preset, command.function) == (state.preset, _next_to_measure(state)):
            return _measured(command, state)
        case RefusePackage(), Merging() | Auditing() | Measuring() if command.preset == state.preset:
            return _refused(state, command.reasons)
        case RecordMeasurements(), Sealing():
            return (ConversionCompleted(outputs=(*state.job.stamped, command.artifact)),)
        case FailConversion(), Converting() | Merging() | Auditing() | Measuring() | Sealing():
            return (ConversionFailed(step=command.step, reason=command.reason, is_retryable=command.is_retryable),)
        case RetryConversion(), Failed(is_retryable=True):
            return (ConversionRetried(),)
        case _:
            raise CommandRejectedError(
                command, state, f"{type(command).__name__} does not fit the state {type(state).__name__}: record what is pending."
            )


def evolve(state: State, event: Event) -> State:
    """What is so after `event`."""
    match event:
        case ConversionStarted():
            return Converting(job=_job(event))
        case ConversionCompleted():
            return Completed(outputs=event.outputs)
        case ConversionFailed():
            assert isinstance(state, Working)
            return Failed(step=event.step, reason=event.reason, is_retryable=event.is_retryable, before=state)
        case ConversionRetried():
            assert isinstance(state, Failed)
            return state.before
        case FunctionCompressed() | InvariantChecked():
            return state
        case _:
            return _after_work(state, event)


def pending(state: State) -> Work | None:
    """The next piece of work; None if there is none."""
    match state:
        case Converting():
            return ConvertFunction(inputs=state.job.inputs, function=_next_function(state), threads=state.job.config.threads)
        case Merging():
            return MergePackage(preset=state.preset, converted=state.job.converted)
        case Auditing():
            return AuditPackage(preset=state.preset, package=state.package, inputs=state.job.inputs, functions=state.job.functions)
        case Measuring():
            return MeasureFunction(
                preset=state.preset,
                package=state.package,
                inputs=state.job.inputs,
                function=_next_to_measure(state),
                config=state.job.config,
                seed=state.job.seed,
            )
        case Sealing():
            return KeepMeasurements(measurements=state.job.measurements)
        case Idle() | Completed() | Failed():
            return None
        case _:
            assert_never(state)


def _start(command: StartConversion) -> tuple[Event, ...]:
    started = ConversionStarted(config=command.config, inputs=command.inputs, seed=command.seed)
    known = exported_functions(artifact_of(command.inputs, "export"))
    if unknown := sorted(set(command.config.functions) - set(known)):
        reason = f"conversion.functions names {', '.join(unknown)}, expected some of {', '.join(known)}: name functions that were exported."
        return started, ConversionFailed(step="plan", reason=reason, is_retryable=False)
    return (started,)


def _merged(command: RecordPackage, state: Merging) -> tuple[Event, ...]:
    merged = PackageMerged(preset=state.preset, artifact=command.artifact, functions=state.job.functions, weight_bytes=command.weight_bytes)
    return (*command.compressed, merged)


def _audited(command: RecordAudits, state: Auditing) -> tuple[Event, ...]:
    found = tuple(audit.audit for audit in command.audits)
    if found != AUDITS:
        raise CommandRejectedError(command, state, f"The audits are {found}, expected {AUDITS}: make every audit once, in this order.")
    reasons = tuple(_reason(f"audit {audit.audit}", audit.findings) for audit in command.audits if audit.status != "pass")
    if not reasons:
        return command.audits
    measuring = Measuring(job=state.job, preset=state.preset, package=state.package)
    return (*command.audits, *_refused(measuring, reasons))


def _measured(command: RecordParity, state: Measuring) -> tuple[Event, ...]:
    if sum(parity.pair == "program" for parity in command.parities) != 1:
        raise CommandRejectedError(command, state, f"{command.function} was not compared with its program exactly once: measure it again.")
    recorded: tuple[Event, ...] = (*command.invariants, *command.parities)
    if reasons := _reasons(command):
        return (*recorded, *_refused(state, reasons))
    if len(state.measured) + 1 < len(state.job.functions):
        return recorded
    because = (
        f"every audit passed, and every invariant and comparison of its {len(state.job.functions)} functions,"
        " run whole in the engine mil in mode fp16-contract"
    )
    return (*recorded, ArtifactStamped(preset=state.preset, artifact=state.package.digest, stamp="graph-verified", because=because))


def _reasons(command: RecordParity) -> tuple[str, ...]:
    """One sentence for each invariant and comparison that did not pass."""
    broken = [check for check in command.invariants if check.status != "pass"]
    missed = [parity for parity in command.parities if parity.status != "pass"]
    return (
        *(_reason(f"{check.function}: invariant {check.invariant}", (check.finding,)) for check in broken),
        *(_reason(f"{parity.function}: parity with the {parity.pair}", parity.findings) for parity in missed),
    )


def _reason(what: str, findings: tuple[str, ...]) -> str:
    return f"{what}: {'; '.join(findings)}"


def _refused(state: Merging | Auditing | Measuring, reasons: tuple[str, ...]) -> tuple[Event, ...]:
    artifact = None if isinstance(state, Merging) else state.package.digest
    refused = ArtifactRefused(preset=state.preset, artifact=artifact, reasons=reasons)
    if state.preset not in state.job.config.required:
        return (refused,)
    reason = f"The required package {state.preset} was refused: {' | '.join(reasons)}"
    return refused, ConversionFailed(step=f"verify {state.preset}", reason=reason, is_retryable=False)


def _job(event: ConversionStarted) -> Job:
    functions = event.config.functions or exported_functions(artifact_of(event.inputs, "export"))
    return Job(config=event.config, inputs=event.inputs, seed=event.seed, functions=functions)


def _after_work(
    state: State, event: FunctionConverted | PackageMerged | AuditCompleted | ParityMeasured | ArtifactStamped | ArtifactRefused
) -> State:
    match event:
        case FunctionConverted():
            assert isinstance(state, Converting)
            return _after_function(state.job, event)
        case PackageMerged():
            assert isinstance(state, Merging)
            return Auditing(job=state.job, preset=state.preset, package=event.artifact)
        case AuditCompleted():
            assert isinstance(state, Auditing)
            return _after_audit(state)
        case ParityMeasured():
            assert isinstance(state, Measuring)
            return _after_parity(state, event)
        case ArtifactStamped():
            assert isinstance(state, Measuring)
            return _settled(replace(state.job, stamped=(*state.job.stamped, state.package)))
        case ArtifactRefused():
            assert isinstance(state, Merging | Auditing | Measuring)
            return _settled(state.job)
        case _:
            assert_never(event)


def _after_function(job: Job, event: FunctionConverted) -> State:
    converted = (*job.converted, Converted(function=event.function, artifact=event.artifact))
    job = replace(job, converted=converted)
    return Converting(job=job) if len(converted) < len(job.functions) else Merging(job=job, preset=job.config.presets[0])


def _after_audit(state: Auditing) -> State:
    if state.num_audits + 1 < len(AUDITS):
        return replace(state, num_audits=state.num_audits + 1)
    return Measuring(job=state.job, preset=state.preset, package=state.package)


def _after_parity(state: Measuring, event: ParityMeasured) -> State:
    job = replace(state.job, measurements=(*state.job.measurements, *event.measurements))
    measured = (*state.measured, event.function) if event.pair == "program" else state.measured
    return replace(state, job=job, measured=measured)


def _settled(job: Job) -> State:
    job = replace(job, num_settled=job.num_settled + 1)
    presets = job.config.presets
    return Merging(job=job, preset=presets[job.num_settled]) if job.num_settled < len(presets) else Sealing(job=job)


def _next_function(state: Converting) -> str:
    return state.job.functions[len(state.job.converted)]


def _next_to_measure(state: Measuring) -> str:
    return state.job.functions[len(state.measured)]


def _outcome(state: State) -> Outcome | None:
    match state:
        case Completed():
            return StageCompleted(outputs=state.outputs)
        case Failed():
            return StageFailed(step=state.step, reason=state.reason, is_retryable=state.is_retryable)
        case _:
            return None


def _progress(state: State) -> Progress | None:
    """Functions converted and then measured, one count for each preset."""
    match state:
        case Converting() | Merging() | Auditing() | Measuring() | Sealing():
            job = state.job
            measured = len(state.measured) if isinstance(state, Measuring) else 0
            done = len(job.converted) + job.num_settled * len(job.functions) + measured
            return Progress(done=done, total=len(job.functions) * (1 + len(job.config.presets)), unit="functions")
        case _:
            return None


DECIDER: Final[Decider[Command, State, Event, Work]] = Decider(initial=Idle(), decide=decide, evolve=evolve, pending=pending)

STAGE: Final = Stage(
    name="conversion",
    decider=DECIDER,
    start=lambda config, inputs, seed: StartConversion(config=config, inputs=inputs, seed=seed),
    fail=lambda step, reason, is_retryable: FailConversion(step=step, reason=reason, is_retryable=is_retryable),
    retry=RetryConversion,
    outcome=_outcome,
    progress=_progress,
    executor="kd.conversion.executor:execute",
)
