"""Packages that were tampered with: each fault is refused by the check that is named after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from kd.conversion.audits import audit_package
from kd.conversion.candidate import Candidate
from kd.conversion.config import ParityConfig, Preset
from kd.conversion.invariants import check_invariants
from kd.conversion.mil.executor import MilPackage
from kd.conversion.package import Program, block_of, read_package
from kd.conversion.parity import measure_parity
from kd.conversion.quiet_coremltools import MIL_pb2
from tests.conversion.conftest import Conversion

FUNCTIONS = ("decode_16", "prefill_16", "verify4_16")
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


def test_one_flipped_bit_of_a_weight_fails_the_weights_audit(conversion: Conversion, tmp_path: Path) -> None:
    """A weight that is not the checkpoint's, by its lowest bit, is found and both sides are named."""
    assert _audit_of_flipped(conversion, tmp_path, "package.fp16", "fp16", "model.norm.weight")["weights"] != ()


@pytest.mark.parametrize("part", ["data", "scale"])
def test_a_wrong_int8_value_or_scale_fails_the_weights_audit(conversion: Conversion, tmp_path: Path, part: str) -> None:
    """Integers and scales must be those that follow from the checkpoint."""
    findings = _audit_of_flipped(conversion, tmp_path, "package.ane-int8", "ane-int8", part)["weights"]
    assert any("is no tensor of the checkpoint" in finding for finding in findings)
    assert any("no constant is the tensor" in finding for finding in findings)


def test_a_wrong_int8_scale_fails_parity(conversion: Conversion) -> None:
    """A scale that is off by a factor changes what the function computes."""
    program = _programs(conversion, "package.ane-int8")["prefill_16"]
    blobs = dict(program.blobs)
    linear = next(one for one in block_of(program.function).operations if one.type == "constexpr_blockwise_shift_scale")
    offset = linear.inputs["scale"].arguments[0].value.blobFileValue.offset
    doubled = (blobs[offset].array() * np.float16(1.5)).tobytes()
    blobs[offset] = attrs.evolve(blobs[offset], read=lambda: doubled, key="0" * 64)
    parities = _parities(conversion, attrs.evolve(program, blobs=blobs), "ane-int8")
    assert parities["program"].status == "fail"
    assert any("logits psnr_db" in finding for finding in parities["program"].findings)


def test_a_mask_that_is_ignored_fails_causality_and_padding(conversion: Conversion) -> None:
    """Attention without its mask lets later tokens and unused slots in."""

    def drop_mask(operation: Any) -> None:
        if operation.type == "scaled_dot_product_attention":
            del operation.inputs["attn_mask"]

    statuses = _invariants(conversion, _mutant(conversion, "prefill_16", drop_mask))
    assert (statuses["causality"], statuses["padding_inert"]) == ("fail", "fail")


def test_dead_past_keys_fail_kv_live(conversion: Conversion) -> None:
    """A function that reads past values where past keys belong does not move when the keys do."""
    statuses = _invariants(conversion, _mutant(conversion, "decode_16", _renaming("past_k", "past_v")))
    assert statuses["kv_live"] == "fail"


def test_positions_that_are_ignored_fail_position_live(conversion: Conversion) -> None:
    """A function that turns nothing gives the same logits wherever the tokens stand."""

    def turn_nothing(operation: Any) -> None:
        if operation.type == "mul":
            for argument in operation.inputs.values():
                if argument.arguments[0].name in ("cos", "sin"):
                    argument.arguments[0].value.CopyFrom(_half(1.0 if argument.arguments[0].name == "cos" else 0.0))

    statuses = _invariants(conversion, _mutant(conversion, "decode_16", turn_nothing))
    assert statuses["position_live"] == "fail"


def test_swapped_keys_and_values_fail_parity(conversion: Conversion) -> None:
    """Keys given out as values are not what the program gives, and decode does not go on from such a prefill."""
    program = _programs(conversion, "package.fp16")["prefill_16"]
    function = _copied(program)
    for operation in block_of(function).operations:
        for output in operation.outputs:
            output.name = {"new_k": "new_v", "new_v": "new_k"}.get(output.name, output.name)
    parities = _parities(conversion, attrs.evolve(program, function=function), "fp16")
    assert any(finding.startswith("new_k psnr_db") for finding in parities["program"].findings)


def test_a_result_that_overflows_fails_shapes(conversion: Conversion) -> None:
    """Infinite results are found even where the outputs stay finite."""

    def overflow(operation: Any) -> None:
        if operation.type == "add" and "scale" not in operation.outputs[0].name and not overflowed:
            overflowed.append(operation.outputs[0].name)
            operation.inputs["y"].arguments[0].value.CopyFrom(_half(np.inf))

    overflowed: list[str] = []
    assert _invariants(conversion, _mutant(conversion, "prefill_16", overflow))["shapes"] == "fail"


def test_a_missing_function_and_a_renamed_output_fail_the_signature_audit(conversion: Conversion) -> None:
    """Functions, names and shapes must be the contract's."""
    programs = list(_programs(conversion, "package.fp16").values())
    description = type(programs[0].description)()
    description.CopyFrom(programs[0].description)
    description.output[0].name = "slice_25"
    findings = _audit(conversion, [attrs.evolve(programs[0], description=description), programs[1]], "fp16")["signature"]
    assert any("has no function verify4_16" in finding for finding in findings)
    assert any("slice_25" in finding for finding in findings)


def test_a_64_bit_integer_fails_the_dtypes_audit(conversion: Conversion) -> None:
    """No result may be a 64-bit integer."""

    def widen(operation: Any) -> None:
        if operation.type == "gather":
            operation.outputs[0].type.tensorType.dataType = MIL_pb2.INT64

    findings = _audit(conversion, [_mutant(conversion, "prefill_16", widen)], "fp16")["dtypes"]
    assert [finding for finding in findings if "gather" in finding and "INT64" in finding]


def test_half_precision_under_the_name_int8_fails_the_integer_share(conversion: Conversion) -> None:
    """A package called int8 must hold integers."""
    audits = _audit(conversion, list(_programs(conversion, "package.fp16").values()), "ane-int8")
    assert len(audits["integer_share"]) == 3
    assert audits["weights"]


def _programs(conversion: Conversion, kind: str) -> dict[str, Program]:
    return {program.name: program for program in read_package(conversion.folder(kind))}


def _copied(program: Program) -> Any:
    function = type(program.function)()
    function.CopyFrom(program.function)
    return function


def _mutant(conversion: Conversion, name: str, change: Callable[[Any], None]) -> Program:
    """The function `name` of the half-precision package, every operation changed by `change`."""
    program = _programs(conversion, "package.fp16")[name]
    function = _copied(program)
    for operation in block_of(function).operations:
        change(operation)
    return attrs.evolve(program, function=function)


def _renaming(before: str, after: str) -> Callable[[Any], None]:
    def rename(operation: Any) -> None:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.name == before:
                    binding.name = after

    return rename


def _half(number: float) -> Any:
    value = MIL_pb2.Value()
    value.type.tensorType.dataType = MIL_pb2.FLOAT16
    value.immediateValue.tensor.bytes.values = np.float16(number).tobytes()
    return value


def _candidate(conversion: Conversion, program: Program) -> Candidate:
    programs = {**_programs(conversion, "package.fp16"), program.name: program}
    return Candidate(MilPackage(programs), conversion.reference)


def _invariants(conversion: Conversion, program: Program) -> dict[str, str]:
    function = conversion.reference.contract.function(program.name)
    checks = check_invariants(_candidate(conversion, program), function, ParityConfig(), 3, "fp16", "0" * 64)
    assert all(check.finding for check in checks if check.status == "fail")
    return {check.invariant: check.status for check in checks}


def _parities(conversion: Conversion, program: Program, preset: Preset) -> dict[str, Any]:
    function = conversion.reference.contract.function(program.name)
    found = measure_parity(_candidate(conversion, program), function, ParityConfig(), 3, preset, "0" * 64)
    return {parity.pair: parity for parity in found}


def _audit(conversion: Conversion, programs: list[Program], preset: Preset) -> dict[str, tuple[str, ...]]:
    reference = conversion.reference
    audits = audit_package(programs, reference.contract, reference.weights, FUNCTIONS, preset, "0" * 64)
    return {audit.audit: audit.findings for audit in audits}


def _audit_of_flipped(conversion: Conversion, tmp_path: Path, kind: str, preset: Preset, what: str) -> dict[str, tuple[str, ...]]:
    """The audits of a copy of the package with one bit flipped in its weight file: of a tensor, or of `data` or `scale` of an int8 one."""
    folder = tmp_path / "copy"
    shutil.copytree(conversion.folder(kind), folder)
    program = read_package(folder)[0]
    if what in ("data", "scale"):
        made = next(one for one in block_of(program.function).operations if one.type == "constexpr_blockwise_shift_scale")
        blob = program.blobs[made.inputs[what].arguments[0].value.blobFileValue.offset]
    else:
        source = conversion.reference.weights[what].numpy().astype(np.float16).tobytes()
        blob = next(blob for blob in program.blobs.values() if blob.read() == source)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[data.index(blob.read()) + 2] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    return _audit(conversion, list(read_package(folder)), preset)
