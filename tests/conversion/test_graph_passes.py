"""The graph passes: what trained models need of half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kd.conversion.candidate import Candidate
from kd.conversion.config import ParityConfig
from kd.conversion.coreml import convert_function
from kd.conversion.invariants import check_invariants
from kd.conversion.mil.executor import MilPackage
from kd.conversion.package import block_of
from kd.conversion.parity import measure_parity
from kd.conversion.quiet_coremltools import quietly
from kd.conversion.reference import Reference
from kd.errors import StageError
from tests.conversion.conftest import Conversion
from tests.conversion.exports import TINY, draw_weights, plans, write_export


def test_activations_beyond_256_survive_half_precision(tmp_path: Path) -> None:
    """Rows whose squares overflow half precision, as those of a trained model's first token do, are normalised all the same."""
    weights = draw_weights(TINY, 1)
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"] * 600
    write_export(tmp_path / "export", TINY, plans(16)[:1], weights)
    reference = Reference(tmp_path / "export")
    function = reference.contract.function("prefill_16")
    program = convert_function(reference.program("prefill_16"), function, tmp_path / "raw")
    candidate = Candidate(MilPackage({"prefill_16": program}), reference)
    checks = {check.invariant: check for check in check_invariants(candidate, function, ParityConfig(), 0, "fp16", "0" * 64)}
    assert checks["shapes"].status == "pass", checks["shapes"].finding
    (parity,) = measure_parity(candidate, function, ParityConfig(), 0, "fp16", "0" * 64)
    assert parity.status == "pass", parity.findings


def test_no_plain_square_is_left(conversion: Conversion) -> None:
    """Every norm divides its row by the largest value before it squares it."""
    program = convert_function(
        conversion.reference.program("decode_16"), conversion.reference.contract.function("decode_16"), conversion.ports.new_folder("raw")
    )
    operations = block_of(program.function).operations
    divided = {operation.outputs[0].name for operation in operations if operation.type == "real_div"}
    squared = [operation.inputs["x"].arguments[0].name for operation in operations if operation.type == "pow"]
    assert len(squared) == 2 * TINY.num_layers + 1
    assert set(squared) <= divided


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_weights_that_half_precision_cannot_hold_are_refused(conversion: Conversion, tmp_path: Path, value: float) -> None:
    """NaN and values beyond 65504 end the conversion before it begins, with the tensor's name."""
    program = conversion.reference.program("decode_16")
    weights = dict(conversion.reference.weights)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], value)
    program.state_dict["model.norm.weight"] = torch.nn.Parameter(weights["model.norm.weight"], requires_grad=False)
    with pytest.raises(StageError, match=r"model\.norm\.weight"):
        convert_function(program, conversion.reference.contract.function("decode_16"), tmp_path)


def test_what_coremltools_says_of_an_operation_is_passed_on(conversion: Conversion, tmp_path: Path) -> None:
    """An operation that it does not know is a failure of the stage with its words, not a crash."""

    class Odd(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(ids.float())

    function = conversion.reference.contract.function("decode_16")
    with quietly():
        program = torch.export.export(Odd(), (torch.zeros((1, 1), dtype=torch.int32),)).run_decompositions({})
    with pytest.raises(StageError, match="could not convert decode_16") as caught:
        convert_function(program, function, tmp_path)
    assert not caught.value.is_retryable
