"""Int8 weights: how they are rounded, and that nothing else in a function changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kd.conversion.compression import Compressor, quantise_rows
from kd.conversion.coreml import convert_function
from kd.conversion.package import Program, block_of, read_package
from kd.conversion.quiet_coremltools import coremltools, quietly
from tests.conversion.conftest import Conversion


def test_every_weight_comes_back_to_within_half_a_step() -> None:
    """Rounding is to nearest: no value moves by more than half of its row's step."""
    weight = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)
    rows = quantise_rows(weight)
    steps = np.abs(rows.values * rows.scales.astype(np.float32) - weight) / rows.scales.astype(np.float32)
    assert steps.max() <= 0.5 + 127 * 2**-11  # the scale itself is rounded to half precision
    assert rows.values.min() >= -127


@pytest.mark.parametrize(("largest", "scale"), [(0.0, 1.0), (1e-9, 6e-8), (127.0, 1.0)])
def test_rows_of_any_size_have_a_scale(largest: float, scale: float) -> None:
    """A row of zeros and a row too small for half precision keep a usable scale."""
    rows = quantise_rows(np.array([[largest, -largest]], dtype=np.float32))
    assert rows.scales[0, 0] == pytest.approx(scale, rel=0.01)
    assert np.isfinite(rows.values.astype(np.float32) * rows.scales).all()


def test_integers_are_those_of_coremltools(conversion: Conversion, tmp_path: Path) -> None:
    """coremltools' own linear quantisation gives the same scales, and integers that differ by its rounding in half precision at most."""
    convert_function(conversion.reference.program("prefill_16"), conversion.reference.contract.function("prefill_16"), tmp_path)
    quantiser = coremltools.optimize.coreml
    config = quantiser.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0)
    with quietly():
        model = coremltools.models.MLModel(str(tmp_path / "prefill_16.mlpackage"), skip_model_load=True)
        theirs = quantiser.linear_quantize_weights(model, quantiser.OptimizationConfig(global_config=config))
        theirs.save(str(tmp_path / "theirs.mlpackage"))
    expected = _quantised(read_package(tmp_path / "theirs.mlpackage")[0])
    found = _quantised(next(one for one in read_package(conversion.folder("package.ane-int8")) if one.name == "prefill_16"))
    assert len(expected) == len(found) == 15
    for (their_values, their_scales), (values, scales) in zip(expected, found):
        assert np.array_equal(their_scales, scales)
        assert np.abs(their_values.astype(int) - values).max() <= 1


def test_only_linear_and_embedding_weights_are_compressed(conversion: Conversion) -> None:
    """Norms, biases and the graph stay as they were."""
    (before, *_), (after, *_) = (read_package(conversion.folder(kind)) for kind in ("package.fp16", "package.ane-int8"))
    kinds = [Counter(operation.type for operation in block_of(program.function).operations) for program in (before, after)]
    num_compressed = kinds[1].pop("constexpr_blockwise_shift_scale")
    assert num_compressed == 15  # 7 in each of 2 layers, and the embedding, which is the head as well
    assert kinds[0] - kinds[1] == Counter({"const": num_compressed})


def test_a_weight_of_several_functions_is_quantised_once(conversion: Conversion) -> None:
    """One compressor gives every function the same integers."""
    compressor = Compressor()
    programs = [compressor.compress(program) for program in read_package(conversion.folder("package.fp16"))]
    pairs = [_quantised(program) for program in programs]
    assert {len(pair) for pair in pairs} == {15}
    assert len(compressor._done) == 15


def _quantised(program: Program) -> list[tuple[np.ndarray, np.ndarray]]:
    """Integers and scales of the function, in the order of the graph."""
    found = []
    for operation in block_of(program.function).operations:
        if operation.type == "constexpr_blockwise_shift_scale":
            offsets = [operation.inputs[name].arguments[0].value.blobFileValue.offset for name in ("data", "scale")]
            found.append((program.blobs[offsets[0]].array(), program.blobs[offsets[1]].array()))
    return sorted(found, key=lambda pair: (len(pair[0]), pair[1].tobytes()))
