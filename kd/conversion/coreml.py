"""One exported program as a Core ML function in half precision: named, typed, and equal in every process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch

from kd.conversion.graph_passes import FP16_CAST, SCALED_RMS_NORM
from kd.conversion.package import Program, read_package
from kd.conversion.quiet_coremltools import coremltools, quietly
from kd.errors import StageError
from kd.models.contract import FunctionSpec, TensorSpec

__all__ = ["convert_function", "core_ml_dtype"]

_FP16_MAX: Final = 65504.0

# The default pipeline has 95 passes, and the graph is validated after each. These are the ones that change a graph of the
# export twin; left out on purpose are those that guard gather indices (ids are token ids) and that narrow ids to int16.
_PASSES: Final = (
    "common::noop_elimination",
    "common::const_elimination",
    "common::sanitize_input_output_names",
    "common::dedup_op_and_var_names",
    SCALED_RMS_NORM,
    FP16_CAST,
    "common::update_output_dtypes",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::const_deduplication",
)
_NUMPY_DTYPES: Final = {"int32": np.int32, "float32": np.float16}
_CORE_ML_DTYPES: Final = {"int32": "INT32", "float32": "FLOAT16"}


def convert_function(program: torch.export.ExportedProgram, function: FunctionSpec, scratch: Path) -> Program:
    """`program` in half precision with the names, dtypes and shapes of `function`.

    `scratch` is a folder for what coremltools writes; the answer reads its weights from there. Raises StageError
    if a weight does not fit half precision or coremltools gives up.
    """
    _check_range(program, function.name)
    scratch.mkdir(parents=True, exist_ok=True)
    folder = scratch / f"{function.name}.mlpackage"
    if problem := _convert(program, function, folder):
        raise StageError(f"convert {function.name}", f"coremltools could not convert {function.name}: {problem}", is_retryable=False)
    (converted,) = read_package(folder)
    return attrs.evolve(converted, name=function.name)


def core_ml_dtype(spec: TensorSpec) -> str:
    """The element type of `spec` in a package: half precision for what programs hold in single."""
    return _CORE_ML_DTYPES[spec.dtype]


def _convert(program: torch.export.ExportedProgram, function: FunctionSpec, folder: Path) -> str:
    """Why coremltools gave up; empty if it wrote the package."""
    with quietly():
        try:
            coremltools.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target.iOS18,
                # The cast to half precision is one of the passes; the option would add the original.
                compute_precision=coremltools.precision.FLOAT32,
                pass_pipeline=coremltools.PassPipeline(list(_PASSES)),
                skip_model_load=True,
                package_dir=str(folder),
                inputs=_types(function.inputs, with_shapes=True),
                outputs=_types(function.outputs, with_shapes=False),
            )
        except (ValueError, RuntimeError, NotImplementedError, KeyError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _types(specs: Sequence[TensorSpec], *, with_shapes: bool) -> list[Any]:
    shapes = [{"shape": spec.shape} if with_shapes else {} for spec in specs]
    return [coremltools.TensorType(name=spec.name, dtype=_NUMPY_DTYPES[spec.dtype], **shape) for spec, shape in zip(specs, shapes)]


def _check_range(program: torch.export.ExportedProgram, name: str) -> None:
    bad = [key for key, tensor in program.state_dict.items() if not float(tensor.detach().abs().max()) <= _FP16_MAX]
    if bad:
        raise StageError(
            f"convert {name}",
            f"The tensors {', '.join(sorted(bad)[:20])} hold NaN or values beyond {_FP16_MAX}, which half precision cannot hold:"
            " train again with a lower learning rate.",
            is_retryable=False,
        )
