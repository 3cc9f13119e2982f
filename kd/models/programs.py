"""Weight-free programs: ExportedPrograms whose parameters are one element each, filled at load from one weights file.

An archive is canonical: equal programs give equal bytes in every process. Members are in order of name without times,
JSON is sorted, and nothing in it tells where or when it was traced. `torch.export.load` reads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.export import ExportedProgram

from kd.errors import DigestMismatchError, UsageError
from kd.models.contract import CONTRACT_FILE, WEIGHTS_FILE, Contract, FunctionSpec, TensorSpec, WeightSpec, contract_from_json

__all__ = [
    "fill_weights",
    "load_program",
    "program_from_bytes",
    "program_to_bytes",
    "read_contract",
    "read_weights",
    "tensor_specs",
    "weight_spec",
]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_ROOT = "archive"
_LEFT_OUT = f"{_ROOT}/.data/serialization_id"
_KEPT_METADATA = "nn_module_stack"
_DTYPES = {torch.int32: "int32", torch.float32: "float32"}


def read_contract(folder: Path) -> Contract:
    """The contract of the export in `folder`."""
    path = folder / CONTRACT_FILE
    if not path.is_file():
        raise UsageError(f"{folder} has no {CONTRACT_FILE}, expected the folder of an export: give the artifact of kind 'export'.")
    return contract_from_json(path.read_bytes())


def load_program(folder: Path, contract: Contract, function_name: str, *, weights: Mapping[str, Tensor] | None = None) -> ExportedProgram:
    """The program `function_name` of the export in `folder`, with its weights filled in.

    `weights` are what `read_weights` gave, to read and check them once for several programs. Raises
    DigestMismatchError if program or weights are not the bytes that the contract names, UsageError if the program's
    signature is not the contract's.
    """
    function: FunctionSpec = contract.function(function_name)
    path = folder / function.program
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != function.sha256:
        raise DigestMismatchError(str(path), function.sha256, found)
    program = program_from_bytes(data)
    if tensor_specs(program, [spec.name for spec in function.outputs]) != (function.inputs, function.outputs):
        raise UsageError(f"Program {function_name!r} takes or gives other tensors than its contract says: export the student again.")
    fill_weights(program, read_weights(folder, contract) if weights is None else weights)
    return program


def read_weights(folder: Path, contract: Contract) -> dict[str, Tensor]:
    """All weights of the export in `folder`; DigestMismatchError names the first tensor that is not the contract's."""
    path = folder / WEIGHTS_FILE
    weights = load_file(path)
    if missing := sorted(contract.weights.keys() ^ weights.keys()):
        raise UsageError(f"{path} and its contract disagree on the tensors {missing[:20]}: use the weights of the same export.")
    for name, expected in sorted(contract.weights.items()):
        found = weight_spec(weights[name])
        if found != expected:
            raise DigestMismatchError(f"{path}: {name}", expected.sha256, found.sha256)
    return weights


def weight_spec(tensor: Tensor) -> WeightSpec:
    """Dtype, shape and digest of `tensor`."""
    array = tensor.detach().contiguous().numpy()
    return WeightSpec(dtype=str(array.dtype), shape=tuple(array.shape), sha256=hashlib.sha256(array.data).hexdigest())


def fill_weights(program: ExportedProgram, weights: Mapping[str, Tensor]) -> None:
    """Put `weights` in the place of the program's one-element parameters; UsageError if one is absent."""
    state = program.state_dict
    absent = sorted(set(state) - set(weights))
    if absent:
        raise UsageError(f"The program needs the tensors {absent[:20]}, which the weights lack: use the weights of the same export.")
    for name, parameter in state.items():
        if tuple(parameter.shape) != tuple(weights[name].shape):
            raise UsageError(
                f"Tensor {name} has shape {tuple(weights[name].shape)}, expected {tuple(parameter.shape)}:"
                " use the weights of the same export."
            )
        state[name] = nn.Parameter(weights[name], requires_grad=False)


def tensor_specs(program: ExportedProgram, output_names: Iterable[str]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the program itself declares them; its outputs have no names of their own."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = tuple(_spec(name, values[name]) for name in program.graph_signature.user_inputs)
    pairs = zip(output_names, program.graph_signature.user_outputs, strict=True)
    return inputs, tuple(_spec(name, values[node]) for name, node in pairs)


def program_to_bytes(program: ExportedProgram) -> bytes:
    """The canonical archive of a weight-free program; its example inputs are dropped."""
    program.example_inputs = None
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # Expanded parameters have no complete tensor in their storage, which is the point of them.
        warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)
        # torch's own deep copy of a tree specification uses what torch deprecates.
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        torch.export.save(program, stream)
    with zipfile.ZipFile(stream) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != _LEFT_OUT}
    return _canonical_zip({name: _canonical_member(name, data) for name, data in members.items()})


def program_from_bytes(data: bytes) -> ExportedProgram:
    """The program of a canonical archive, still without weights."""
    return torch.export.load(io.BytesIO(data))


def _spec(name: str, value: Any) -> TensorSpec:
    return TensorSpec(name=name, dtype=_DTYPES[value.dtype], shape=tuple(int(size) for size in value.shape))  # type: ignore[arg-type]


def _canonical_zip(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name])
    return stream.getvalue()


def _canonical_member(name: str, data: bytes) -> bytes:
    if not name.endswith(".json"):
        return data
    document = json.loads(data)
    if name.startswith(f"{_ROOT}/models/"):
        for node in document["graph_module"]["graph"]["nodes"]:
            node["metadata"] = {key: value for key, value in node["metadata"].items() if key == _KEPT_METADATA}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
