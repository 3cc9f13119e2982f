"""The machine alone: what may happen when, and what a refusal does."""

from __future__ import annotations

from typing import Any

import pytest

from kd.artifacts import Artifact, FileRef
from kd.conversion.commands import (
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
from kd.conversion.config import ConversionConfig, Preset
from kd.conversion.events import (
    AUDITS,
    ENTRIES,
    ArtifactRefused,
    ArtifactStamped,
    Audit,
    AuditCompleted,
    ConversionCompleted,
    ConversionFailed,
    ConversionRetried,
    ConversionStarted,
    FunctionConverted,
    InvariantChecked,
    PackageMerged,
    ParityMeasured,
    Status,
)
from kd.conversion.machine import DECIDER, STAGE
from kd.conversion.states import (
    Auditing,
    AuditPackage,
    Completed,
    ConvertFunction,
    Converting,
    Failed,
    KeepMeasurements,
    MeasureFunction,
    MergePackage,
    package_kind,
)
from kd.evidence import Measurement
from ledger.decider import fold
from ledger.errors import CommandRejectedError
from ledger.record import BlobRef
from ledger.registry import Registry
from ledger.testing import decide_given


def artifact(kind: str, *paths: str) -> Artifact:
    blob = BlobRef(sha256="0" * 64, num_bytes=1)
    return Artifact(kind=kind, files=tuple(FileRef(path=path, blob=blob) for path in sorted(paths or ("file",))))


EXPORT = artifact("export", "contract.json", "programs/decode_8.pt2", "programs/prefill_8.pt2", "programs/decode_16.pt2")
BOTH = ConversionConfig(functions=("prefill_8", "decode_8"))
ONE = ConversionConfig(functions=("prefill_8",), presets=("fp16",))


def started(config: ConversionConfig = ONE) -> ConversionStarted:
    return ConversionStarted(config=config, inputs=(EXPORT,), seed=1)


def converted(function: str = "prefill_8") -> FunctionConverted:
    return FunctionConverted(function=function, artifact=artifact(f"converted.{function}"), num_ops=3)


def merged(preset: Preset = "fp16") -> PackageMerged:
    return PackageMerged(preset=preset, artifact=artifact(package_kind(preset)), functions=("prefill_8",), weight_bytes=1)


def audit(name: Audit, status: Status = "pass", preset: Preset = "fp16") -> AuditCompleted:
    findings = () if status == "pass" else ("it is wrong",)
    return AuditCompleted(preset=preset, artifact="0" * 64, audit=name, status=status, findings=findings, num_checked=1)


def audits(preset: Preset = "fp16") -> tuple[AuditCompleted, ...]:
    return tuple(audit(name, preset=preset) for name in AUDITS)


def parity(function: str = "prefill_8", status: Status = "pass", preset: Preset = "fp16") -> ParityMeasured:
    return ParityMeasured(
        preset=preset,
        artifact="0" * 64,
        engine="mil",
        mode="fp16-contract",
        function=function,
        pair="program",
        status=status,
        findings=() if status == "pass" else ("logits psnr_db is 3, expected at least 60",),
        num_sequences=8,
        num_positions=512,
        measurements=(Measurement(metric="passed", suite="parity", value=1.0, n=512),),
    )


def invariant(status: Status = "pass") -> InvariantChecked:
    finding = "" if status == "pass" else "noise moves nothing"
    return InvariantChecked(
        preset="fp16", artifact="0" * 64, engine="mil", function="prefill_8", invariant="kv_live", status=status, worst=0.5, finding=finding
    )


def stamped(preset: Preset = "fp16") -> ArtifactStamped:
    return ArtifactStamped(preset=preset, artifact="0" * 64, stamp="graph-verified", because="all passed")


def recorded(*parities: ParityMeasured, invariants: tuple[InvariantChecked, ...] = ()) -> RecordParity:
    return RecordParity(preset=parities[0].preset, function=parities[0].function, invariants=invariants, parities=parities)


MEASURED_ALL = (started(), converted(), merged(), *audits(), parity(), stamped())


def after(*events: Any) -> Any:
    return fold(DECIDER, events)


def test_functions_are_those_of_the_export_shortest_first() -> None:
    """Without names in the settings every exported program is converted."""
    state = after(started(ConversionConfig()))
    assert isinstance(state, Converting)
    assert state.job.functions == ("decode_8", "prefill_8", "decode_16")


def test_a_name_that_was_not_exported_fails_the_stage_with_the_known_ones() -> None:
    """A mistake in `functions` is said at once."""
    config = ConversionConfig(functions=("decode_99",))
    events = decide_given(DECIDER, [], StartConversion(config=config, inputs=(EXPORT,), seed=1))
    assert isinstance(events[1], ConversionFailed)
    assert "decode_99, expected some of decode_8, prefill_8, decode_16" in events[1].reason


def test_works_follow_one_another() -> None:
    """Functions are converted first; then each preset is merged, audited and measured; the measurements come last."""
    history: list[Any] = [started(BOTH), converted("prefill_8"), converted("decode_8")]
    works = [type(DECIDER.pending(after(*history[: index + 1]))) for index in range(3)]
    assert works == [ConvertFunction, ConvertFunction, MergePackage]
    for preset in ("fp16", "ane-int8"):
        history.append(merged(preset))
        assert isinstance(DECIDER.pending(after(*history)), AuditPackage)
        history.extend(audits(preset))
        assert isinstance(DECIDER.pending(after(*history)), MeasureFunction)
        history.extend((parity("prefill_8", preset=preset), parity("decode_8", preset=preset), stamped(preset)))
    work = DECIDER.pending(after(*history))
    assert isinstance(work, KeepMeasurements)
    assert len(work.measurements) == 4


def test_the_last_function_that_passes_stamps_the_package() -> None:
    """A package is stamped by the measurement that completes it."""
    events = decide_given(DECIDER, [started(), converted(), merged(), *audits()], recorded(parity(), invariants=(invariant(),)))
    assert [type(event) for event in events] == [InvariantChecked, ParityMeasured, ArtifactStamped]


def test_completion_hands_over_stamped_packages_and_measurements() -> None:
    """What was refused is not among the outputs."""
    measurements = artifact("measurements.conversion")
    (event,) = decide_given(DECIDER, MEASURED_ALL, RecordMeasurements(artifact=measurements))
    assert event == ConversionCompleted(outputs=(merged().artifact, measurements))
    assert after(*MEASURED_ALL, event) == Completed(outputs=(merged().artifact, measurements))


@pytest.mark.parametrize("status", ["fail", "inconclusive"])
@pytest.mark.parametrize("check", ["parity", "invariant"])
def test_a_required_package_that_does_not_pass_fails_the_stage(check: str, status: Status) -> None:
    """Neither failing nor inconclusive passes, and the reason names function and check."""
    given = [started(), converted(), merged(), *audits()]
    command = recorded(parity(status=status)) if check == "parity" else recorded(parity(), invariants=(invariant(status),))
    events = decide_given(DECIDER, given, command)
    assert [type(event) for event in events[-2:]] == [ArtifactRefused, ConversionFailed]
    assert f"prefill_8: {check}" in events[-1].reason
    assert not events[-1].is_retryable


def test_a_package_that_is_not_required_is_refused_and_the_stage_goes_on() -> None:
    """The refused package is left out, and the stage ends with the others."""
    config = ConversionConfig(functions=("prefill_8",))
    given = [started(config), *MEASURED_ALL[1:], merged("ane-int8"), *audits("ane-int8")]
    events = decide_given(DECIDER, given, recorded(parity(status="fail", preset="ane-int8")))
    assert isinstance(events[-1], ArtifactRefused)
    state = after(*given, *events)
    assert isinstance(DECIDER.pending(state), KeepMeasurements)
    assert [one.kind for one in state.job.stamped] == ["package.fp16"]


def test_a_failed_audit_refuses_before_anything_is_measured() -> None:
    """A file that is wrong is not worth running."""
    found = tuple(audit(name, "fail" if name == "weights" else "pass") for name in AUDITS)
    events = decide_given(DECIDER, [started(), converted(), merged()], RecordAudits(preset="fp16", audits=found))
    refused = events[len(AUDITS)]
    assert isinstance(refused, ArtifactRefused)
    assert refused.reasons == ("audit weights: it is wrong",)


def test_audits_must_be_complete() -> None:
    """An audit that was left out is not one that passed."""
    with pytest.raises(CommandRejectedError, match="make every audit once"):
        decide_given(DECIDER, [started(), converted(), merged()], RecordAudits(preset="fp16", audits=audits()[:2]))


def test_a_function_must_be_compared_with_its_program() -> None:
    """A measurement without the comparison that counts is rejected."""
    command = RecordParity(preset="fp16", function="prefill_8", invariants=(), parities=())
    with pytest.raises(CommandRejectedError, match="exactly once"):
        decide_given(DECIDER, [started(), converted(), merged(), *audits()], command)


def test_a_package_that_cannot_be_run_is_refused() -> None:
    """What the executor has no kernel for is a reason like any other."""
    given = [started(), converted(), merged(), *audits()]
    events = decide_given(DECIDER, given, RefusePackage(preset="fp16", reasons=("no kernel",)))
    assert [type(event) for event in events] == [ArtifactRefused, ConversionFailed]


def test_a_retry_goes_on_where_it_stopped() -> None:
    """What was converted before a retryable failure is not converted again."""
    failed = ConversionFailed(step="merge", reason="disk", is_retryable=True)
    given = [started(), converted(), failed]
    assert decide_given(DECIDER, given, RetryConversion()) == (ConversionRetried(),)
    assert isinstance(DECIDER.pending(after(*given, ConversionRetried())), MergePackage)


def test_a_final_failure_is_not_retried() -> None:
    """A refused package stays refused."""
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, [started(), ConversionFailed(step="x", reason="y", is_retryable=False)], RetryConversion())


@pytest.mark.parametrize(
    "command",
    [
        RecordFunction(function="decode_8", artifact=EXPORT, num_ops=1),
        RecordPackage(preset="fp16", artifact=EXPORT, weight_bytes=1, compressed=()),
        RecordMeasurements(artifact=EXPORT),
        RefusePackage(preset="fp16", reasons=("x",)),
        StartConversion(config=ONE, inputs=(EXPORT,), seed=1),
    ],
)
def test_commands_out_of_turn_are_rejected(command: Any) -> None:
    """Only what is pending can be recorded."""
    with pytest.raises(CommandRejectedError):
        decide_given(DECIDER, [started()], command)


def test_failure_is_possible_at_any_work() -> None:
    """The runner can record a failure whatever the stage was doing, and sees it as the outcome."""
    for length in (1, 2, 3, len(MEASURED_ALL)):
        given = MEASURED_ALL[:length]
        events = decide_given(DECIDER, given, FailConversion(step="s", reason="r", is_retryable=True))
        state = after(*given, *events)
        assert isinstance(state, Failed)
        assert STAGE.outcome(state) is not None


def test_progress_counts_functions_of_every_step() -> None:
    """Converted functions and measured ones count alike."""
    progress = STAGE.progress(after(started(), converted(), merged()))
    assert progress is not None
    assert (progress.done, progress.total, progress.unit) == (1, 2, "functions")
    assert STAGE.progress(after()) is None


def test_audits_are_counted() -> None:
    """Between audits the package is still being audited."""
    state = after(started(), converted(), merged(), audits()[0])
    assert isinstance(state, Auditing)
    assert state.num_audits == 1


def test_every_event_can_be_stored() -> None:
    """The registry accepts the events of the stage."""
    assert len(Registry(ENTRIES).entries) == 12
