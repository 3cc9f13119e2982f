"""The stage as a whole: what it hands over, and what happens when it is interrupted or a package does not pass."""

from __future__ import annotations

from pathlib import Path

from kd.artifacts import artifact_of
from kd.conversion.commands import RecordParity, StartConversion
from kd.conversion.config import ConversionConfig
from kd.conversion.events import AUDITS, ArtifactStamped, AuditCompleted, FunctionConverted, InvariantChecked, PackageMerged, ParityMeasured
from kd.conversion.executor import execute
from kd.conversion.machine import STAGE
from kd.conversion.states import Completed, ConvertFunction, Measuring
from kd.evidence import measurements_from_json
from kd.stage import Wish
from tests.conversion.conftest import Conversion
from tests.fakes import Teller, make_ports

FUNCTIONS = ("decode_16", "prefill_16", "verify4_16")


def test_both_presets_are_verified_and_handed_over(conversion: Conversion) -> None:
    """A conversion whose packages pass everything ends with one package a preset and the measurements."""
    assert isinstance(conversion.state, Completed)
    assert [artifact.kind for artifact in conversion.state.outputs] == ["package.fp16", "package.ane-int8", "measurements.conversion"]
    assert [(event.preset, event.stamp) for event in conversion.events_of(ArtifactStamped)] == [
        ("fp16", "graph-verified"),
        ("ane-int8", "graph-verified"),
    ]


def test_every_function_of_every_package_is_compared_with_its_program(conversion: Conversion) -> None:
    """Each function is measured in each package, on at least 8 sequences and 512 positions."""
    measured = [event for event in conversion.events_of(ParityMeasured) if event.pair == "program"]
    assert [(event.preset, event.function) for event in measured] == [(p, f) for p in ("fp16", "ane-int8") for f in FUNCTIONS]
    assert all(event.status == "pass" and event.num_sequences >= 8 and event.num_positions >= 512 for event in measured)


def test_functions_with_a_past_go_on_from_the_prefill_of_the_same_file(conversion: Conversion) -> None:
    """Decode and verify are compared with the package's own prefill too, within the limits of half precision."""
    pairs = {(event.preset, event.function) for event in conversion.events_of(ParityMeasured) if event.pair == "prefill"}
    assert pairs == {(p, f) for p in ("fp16", "ane-int8") for f in ("decode_16", "verify4_16")}


def test_every_invariant_that_a_function_can_show_is_checked(conversion: Conversion) -> None:
    """Causality needs several queries, a live past needs a past; the others hold for every function."""
    checked = {
        name: [event.invariant for event in conversion.events_of(InvariantChecked) if (event.preset, event.function) == ("fp16", name)]
        for name in FUNCTIONS
    }
    assert checked["decode_16"] == ["shapes", "padding_inert", "kv_live", "position_live"]
    assert checked["prefill_16"] == ["shapes", "causality", "padding_inert", "position_live"]
    assert checked["verify4_16"] == ["shapes", "causality", "padding_inert", "kv_live", "position_live"]


def test_every_audit_passes_on_every_package(conversion: Conversion) -> None:
    """A package is stamped only after all audits."""
    audits = conversion.events_of(AuditCompleted)
    assert [event.audit for event in audits] == [*AUDITS, *AUDITS]
    assert {event.status for event in audits} == {"pass"}


def test_functions_share_their_weights(conversion: Conversion) -> None:
    """Three functions in one package take hardly more room than one of them alone."""
    alone = conversion.events_of(FunctionConverted)[0].artifact
    merged = artifact_of(conversion.state.outputs, "package.fp16")
    weights = "Data/com.apple.CoreML/weights/weight.bin"
    assert merged.file(weights) == alone.file(weights)


def test_int8_halves_the_weights(conversion: Conversion) -> None:
    """The integers of the int8 package take about half of the bytes of half precision."""
    before, after = (event.weight_bytes for event in conversion.events_of(PackageMerged))
    assert 0.5 < after / before < 0.65


def test_measurements_hold_every_comparison(conversion: Conversion) -> None:
    """The measurements handed over are those of the events, one slice for each comparison."""
    stored = measurements_from_json((conversion.folder("measurements.conversion") / "measurements.json").read_bytes())
    assert stored == tuple(one for event in conversion.events_of(ParityMeasured) for one in event.measurements)
    passed = {one.slice: one.value for one in stored if one.metric == "passed"}
    assert passed["fp16/decode_16"] == passed["ane-int8/verify4_16"] == passed["fp16/decode_16/prefill"] == 1.0


def test_work_done_again_gives_equal_bytes(conversion: Conversion, tmp_path: Path) -> None:
    """Converting a function anew, in another folder and order, gives the artifact that the first time gave."""
    ports = make_ports(tmp_path)
    export = ports.keep("export", _copied(conversion.ports.fetch(conversion.export), ports.new_folder("again")))
    assert export == conversion.export
    work = ConvertFunction(inputs=(export,), function="verify4_16", threads=1)
    command = execute(work, ports, Teller(STAGE))
    first = next(event for event in conversion.events_of(FunctionConverted) if event.function == "verify4_16")
    assert getattr(command, "artifact", None) == first.artifact


def test_a_run_that_wants_to_stop_is_left_at_once(conversion: Conversion) -> None:
    """Asked to stop, the executor begins no work."""
    work = ConvertFunction(inputs=(conversion.export,), function="decode_16", threads=1)
    assert execute(work, conversion.ports, Teller(STAGE, wishes=[Wish.STOP])) is None


def test_only_the_named_functions_are_converted(conversion: Conversion) -> None:
    """`functions` limits the work, and is kept in the order given."""
    tell = Teller(STAGE)
    config = ConversionConfig(functions=("verify4_16",), presets=("fp16",))
    tell.handle(StartConversion(config=config, inputs=(conversion.export,), seed=3))
    assert tell.state.job.functions == ("verify4_16",)


def test_a_measurement_of_the_same_package_is_the_same_twice(conversion: Conversion) -> None:
    """Measuring is repeatable to the bit, so an interrupted measurement can be done again."""
    tell = Teller(STAGE)
    for event in conversion.events:
        tell.state = STAGE.decider.evolve(tell.state, event)
        if isinstance(tell.state, Measuring) and tell.state.measured == ():
            break
    work = STAGE.decider.pending(tell.state)
    command = execute(work, conversion.ports, Teller(STAGE))
    assert isinstance(command, RecordParity)
    recorded = [event for event in conversion.events_of(ParityMeasured) if (event.preset, event.function) == ("fp16", FUNCTIONS[0])]
    assert list(command.parities) == recorded


def _copied(source: Path, target: Path) -> Path:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())
    return target
