"""One function of the twin as a weight-free ExportedProgram in the core dialect."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.export import ExportedProgram

from kd.export.functions import FunctionPlan, input_specs
from kd.export.twin import weight_free_twin
from kd.models.architecture import Architecture
from kd.models.contract import TensorSpec

__all__ = ["example_inputs", "export_function", "tracing"]

_DTYPES = {"int32": torch.int32, "float32": torch.float32}


def export_function(architecture: Architecture, plan: FunctionPlan) -> ExportedProgram:
    """The program of `plan`, without weights: `kd.models.programs` writes it and fills it again."""
    twin = weight_free_twin(architecture, is_last_only=plan.kind == "prefill")
    specs = input_specs(architecture, plan.num_queries, plan.num_past, plan.length)
    with tracing():
        program: ExportedProgram = torch.export.export(twin, example_inputs(specs))
        # torch.export gives the training dialect; converters read the core one (apple/coremltools#2743).
        decomposed: ExportedProgram = program.run_decompositions({})
    return decomposed


def example_inputs(specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """Zeros for `specs`, each a tensor of its own: one tensor passed twice would be one input."""
    return tuple(torch.zeros([int(size) for size in spec.shape], dtype=_DTYPES[spec.dtype]) for spec in specs)


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """What every trace runs in: no gradients, no collection of garbage, no warning of what torch itself deprecates.

    Tracing keeps all that it makes, and looking through it over and over takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        if was_enabled:
            gc.enable()
