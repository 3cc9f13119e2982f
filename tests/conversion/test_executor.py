"""The reference executor on packages from disk: what it accepts, what it refuses, and how it rounds."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from kd.conversion.candidate import Candidate
from kd.conversion.config import ParityConfig
from kd.conversion.mil.errors import InputMismatchError, UnsupportedOpError
from kd.conversion.mil.executor import MilFunction, MilPackage, load
from kd.conversion.package import Program, block_of, read_package
from kd.conversion.probes import probe_inputs
from kd.errors import UsageError
from kd.models.parity import compare
from tests.conversion.conftest import Conversion


def _inputs(function: MilFunction, dtype: type = np.float16) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.zeros(spec.shape, np.int32 if spec.dtype == "int32" else dtype) for name, spec in function.inputs.items()}


def test_a_saved_package_names_its_functions_and_their_signatures(conversion: Conversion) -> None:
    """What a package declares can be read without running it."""
    package = load(conversion.folder("package.fp16"))
    assert package.functions == ("decode_16", "prefill_16", "verify4_16")
    decode = package.function("decode_16")
    assert {name: (spec.dtype, spec.shape) for name, spec in decode.inputs.items()}["past_k"] == ("fp16", (1, 2, 15, 16))
    assert decode.outputs["logits"].shape == (1, 1, 64)


def test_an_unknown_function_is_refused(conversion: Conversion) -> None:
    """Asking for a function that is not there says which ones are."""
    with pytest.raises(UsageError, match="no function 'decode_99', expected one of decode_16, prefill_16, verify4_16"):
        load(conversion.folder("package.fp16")).function("decode_99")


@pytest.mark.parametrize("change", ["missing", "extra", "dtype", "shape"])
def test_inputs_are_checked_by_name_dtype_and_shape(conversion: Conversion, change: str) -> None:
    """An input that is not the function's is an error, never a broadcast or a cast."""
    function = load(conversion.folder("package.fp16")).function("prefill_16")
    inputs = _inputs(function)
    if change == "missing":
        del inputs["mask"]
    elif change == "extra":
        inputs["past_k"] = inputs["cos"]
    elif change == "dtype":
        inputs["mask"] = inputs["mask"].astype(np.float32)
    else:
        inputs["ids"] = inputs["ids"][:, :8]
    with pytest.raises(InputMismatchError):
        function.run(inputs)


def test_an_operation_without_a_kernel_is_found_before_anything_runs(conversion: Conversion) -> None:
    """The error names the operation's type, its name and the function."""
    program = _retyped(conversion, "prefill_16", "silu", "gelu")
    with pytest.raises(UnsupportedOpError) as caught:
        MilPackage({"prefill_16": program}).function("prefill_16")
    assert (caught.value.op, caught.value.function) == ("gelu", "prefill_16")
    assert caught.value.name


def test_exact32_is_the_program_with_rounded_weights(conversion: Conversion) -> None:
    """Without rounding, a package differs from its program by what half precision took from the weights."""
    candidate, reference = load(conversion.folder("package.fp16")), conversion.reference
    function = reference.contract.function("prefill_16")
    config = ParityConfig()
    expected = reference.outputs(function, config, 3)
    found = []
    for probe in reference.probes(function, config, 3):
        inputs = probe_inputs(reference.contract, function, probe.ids, None)
        outputs = candidate.function("prefill_16").run(inputs, mode="exact32")
        assert outputs["logits"].dtype == np.float32
        found.append({"logits": outputs["logits"][0]})
    report = compare([{"logits": one["logits"]} for one in expected], found, "fp16")
    psnr = next(one.value for one in report.measurements if one.metric == "psnr_db")
    assert psnr is not None
    assert psnr > 65


def test_fp16_contract_rounds_every_result_to_its_declared_type(conversion: Conversion) -> None:
    """In the default mode every value is representable in half precision; in exact32 some are not."""
    function = load(conversion.folder("package.fp16")).function("prefill_16")
    inexact: dict[str, int] = {"fp16-contract": 0, "exact32": 0}

    def count(mode: str) -> Any:
        def trace(_name: str, values: np.ndarray[Any, Any]) -> None:
            inexact[mode] += int((values != values.astype(np.float16).astype(np.float32)).any())

        return trace

    rng = np.random.default_rng(0)
    inputs = {
        name: (rng.standard_normal(array.shape) if array.dtype != np.int32 else array).astype(array.dtype)
        for name, array in _inputs(function).items()
    }
    function.run(inputs, trace=count("fp16-contract"))
    wide = {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in inputs.items()}
    function.run(wide, mode="exact32", trace=count("exact32"))
    assert inexact["fp16-contract"] == 0
    assert inexact["exact32"] > 10


def test_int8_weights_are_decoded_once_for_all_functions(conversion: Conversion) -> None:
    """Functions of one package share their decoded weights."""
    package = load(conversion.folder("package.ane-int8"))
    decode, prefill = package.function("decode_16"), package.function("prefill_16")
    decode.run(_inputs(decode))
    before = dict(decode._decoded)
    prefill.run(_inputs(prefill))
    assert before.keys() == decode._decoded.keys()


def test_a_folder_that_is_no_package_is_refused(conversion: Conversion) -> None:
    """Opening something else says what is missing."""
    with pytest.raises(UsageError, match="is no Core ML package"):
        load(conversion.ports.scratch)


def test_a_candidate_repeats_itself(conversion: Conversion) -> None:
    """Equal inputs give equal bits."""
    function = conversion.reference.contract.function("decode_16")
    runs = [Candidate(load(conversion.folder("package.fp16")), conversion.reference).outputs(function, ParityConfig(), 3) for _ in range(2)]
    for one, other in zip(*runs):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def _retyped(conversion: Conversion, name: str, before: str, after: str) -> Program:
    """The function `name` with its first operation of one type called another."""
    program = next(one for one in read_package(conversion.folder("package.fp16")) if one.name == name)
    function = type(program.function)()
    function.CopyFrom(program.function)
    next(operation for operation in block_of(function).operations if operation.type == before).type = after
    return attrs.evolve(program, function=function)
