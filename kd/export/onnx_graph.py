"""The twin as one ONNX graph of standard operators, for any number of queries and past tokens.

The graph holds no weights of its own: its initializers point into the safetensors file of the checkpoint, which lies
beside it. So every weight is a checkpoint tensor by construction, and the bytes are stored once. What else the graph
holds are the shapes and indices of its own operators, all small. Equal students give equal bytes in every process:
nothing in the file tells where or when it was traced.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from attrs import frozen
from onnxscript.optimizer import optimize_ir
from onnxscript.rewriter import onnx_fusions
from torch import Tensor
from torch.export import Dim, ExportedProgram

from kd.errors import StageError
from kd.export.functions import INPUT_NAMES, OUTPUT_NAMES, dynamic_function, input_specs
from kd.export.torch_program import example_inputs, tracing
from kd.export.twin import load_twin
from kd.models.architecture import Architecture
from kd.models.contract import WEIGHTS_FILE

__all__ = ["OnnxFacts", "write_onnx"]

_EXAMPLE_QUERIES, _EXAMPLE_PAST = 3, 5
_MAX_CONSTANT_BYTES = 1024
_SAFETENSORS_DTYPES = {"F32": ir.DataType.FLOAT}


@frozen(kw_only=True)
class OnnxFacts:
    """What was written."""

    opset: int
    num_nodes: int
    num_bytes: int
    """Size of the graph file, without weights."""
    constants: tuple[str, ...]
    """Initializers that are no checkpoint tensors: shapes and indices."""


def write_onnx(architecture: Architecture, weights: Mapping[str, Tensor], path: Path, *, opset: int) -> OnnxFacts:
    """Write the graph to `path`, beside which the checkpoint lies as `weights.safetensors`, and check it wholly.

    Inputs and outputs are those of the twin, with T ≥ 1 queries, P ≥ 0 past tokens and S = T + P keys.
    """
    with tracing(), _quiet():
        program = _dynamic_program(architecture, weights)
        traced = torch.onnx.export(
            program, dynamo=True, opset_version=opset, output_names=OUTPUT_NAMES, optimize=False, verify=False, verbose=False
        )
    assert traced is not None
    model = traced.model
    optimize_ir(model, should_fold=lambda node: False if _reads_weight(node, weights) else None)
    onnx_fusions.fuse(model)
    constants = _point_at(model, weights, path.with_name(WEIGHTS_FILE))
    proto = _canonical_proto(model, architecture)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)
    return OnnxFacts(opset=opset, num_nodes=len(proto.graph.node), num_bytes=path.stat().st_size, constants=constants)


def _dynamic_program(architecture: Architecture, weights: Mapping[str, Tensor]) -> ExportedProgram:
    """The twin with real weights: constant folding and merging of equal constants must see what is equal in truth."""
    specs = input_specs(architecture, _EXAMPLE_QUERIES, _EXAMPLE_PAST, _EXAMPLE_QUERIES + _EXAMPLE_PAST)
    queries = Dim("T", min=1, max=architecture.max_context_tokens)
    past = Dim("P", min=0, max=architecture.max_context_tokens)
    shapes = ({1: queries}, {2: queries}, {2: queries}, {2: queries, 3: Dim.AUTO}, {2: past}, {2: past})
    twin = load_twin(architecture, weights)
    program: ExportedProgram = torch.export.export(twin, example_inputs(specs), dynamic_shapes=dict(zip(INPUT_NAMES, shapes, strict=True)))
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's line for each torchvision operator that it cannot register."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reads_weight(node: ir.Node, weights: Mapping[str, Tensor]) -> bool:
    return any(value is not None and value.name in weights for value in node.inputs)


def _point_at(model: ir.Model, weights: Mapping[str, Tensor], path: Path) -> tuple[str, ...]:
    """Turn every weight into a reference to its bytes in `path`; the names of all other initializers."""
    places = _tensor_places(path)
    constants = []
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        if name in weights:
            dtype, shape, offset, length = places[name]
            value.const_value = ir.ExternalTensor(
                WEIGHTS_FILE, offset, length, _SAFETENSORS_DTYPES[dtype], shape=ir.Shape(shape), name=name, base_dir=path.parent
            )
        elif value.const_value.nbytes > _MAX_CONSTANT_BYTES:
            raise StageError(
                "onnx",
                f"The ONNX graph holds a constant {name} of {value.const_value.nbytes} bytes that is no tensor of the checkpoint,"
                f" expected shapes and indices of at most {_MAX_CONSTANT_BYTES}: use the proved versions of torch and onnxscript.",
                is_retryable=False,
            )
        else:
            constants.append(name)
    return tuple(sorted(constants))


def _tensor_places(path: Path) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Tensor → dtype, shape, offset in the file and length of a safetensors file."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return {
        name: (row["dtype"], tuple(row["shape"]), 8 + size + row["data_offsets"][0], row["data_offsets"][1] - row["data_offsets"][0])
        for name, row in header.items()
    }


def _canonical_proto(model: ir.Model, architecture: Architecture) -> onnx.ModelProto:
    """The model without anything that tells of its making, its free sizes called T, P and S."""
    proto = ir.to_proto(model)
    proto.ClearField("metadata_props")
    proto.ClearField("doc_string")
    proto.graph.name = "student"
    for items in (proto.graph.node, proto.graph.input, proto.graph.output, proto.graph.initializer, [proto.graph]):
        for item in items:
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    function = dynamic_function(architecture)
    _name_sizes(proto.graph.input, {spec.name: spec.shape for spec in function.inputs})
    _name_sizes(proto.graph.output, {spec.name: spec.shape for spec in function.outputs})
    return proto


def _name_sizes(values: Iterable[onnx.ValueInfoProto], shapes: Mapping[str, tuple[int | str, ...]]) -> None:
    for value in values:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if isinstance(size, str):
                dim.dim_param = size
            else:
                assert dim.dim_value == size, f"{value.name} has size {dim}, planned {size}"
