"""Core ML packages in canonical form: equal programs and weights give equal bytes in every process.

A package is three files: manifest, specification, weights. The specification is serialised with sorted maps and holds no
dates, paths or debug mapping; weights lie in order of their digest, each content once, however many functions use it;
the manifest's ids are derived from the contents.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from kd.conversion.quiet_coremltools import Model_pb2
from kd.conversion.weight_file import Blob, read_weight_file, write_weight_file
from kd.errors import UsageError

__all__ = ["SPEC_PATH", "WEIGHTS_PATH", "Program", "blob_values", "block_of", "read_package", "write_package"]

SPEC_PATH: Final = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS_PATH: Final = Path("Data/com.apple.CoreML/weights/weight.bin")
_MANIFEST_PATH: Final = Path("Manifest.json")
_WEIGHTS_NAME: Final = "@model_path/weights/weight.bin"
_SPEC_VERSION: Final = 9  # iOS 18, the first with several functions
_NAMESPACE: Final = uuid.UUID("5f0c6c3e-6f0e-5d0a-9a41-6b642d6d6c70")


@frozen(kw_only=True, eq=False)
class Program:
    """One function of a package: its graph, its signature, and the blobs that the graph names by number."""

    name: str
    function: Any
    """`MILSpec.Function`; not changed by anyone who did not copy it."""
    description: Any
    """`FunctionDescription`: names, types and shapes of inputs and outputs."""
    blobs: Mapping[int, Blob]


def read_package(folder: Path) -> tuple[Program, ...]:
    """The functions of the package in `folder`, in order of name; UsageError if it is no package with an ML program."""
    try:
        data = (folder / SPEC_PATH).read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{folder} is no Core ML package: it has no {SPEC_PATH}. Name the folder of an .mlpackage.") from error
    model = Model_pb2.Model()
    model.ParseFromString(data)
    if model.specificationVersion > _SPEC_VERSION:
        raise UsageError(
            f"{folder} has specification version {model.specificationVersion}, expected at most {_SPEC_VERSION}: convert for iOS 18."
        )
    if model.WhichOneof("Type") != "mlProgram":
        raise UsageError(f"{folder} holds a {model.WhichOneof('Type')}, expected an ML program: convert with kd.")
    return tuple(_program(folder, model, name) for name in sorted(model.mlProgram.functions))


def write_package(folder: Path, programs: Sequence[Program], *, default: str) -> None:
    """Write `programs` as one canonical package below `folder`; the function `default` runs where none is named."""
    blobs = [program.blobs[value.blobFileValue.offset] for program in programs for value in blob_values(program.function)]
    (folder / WEIGHTS_PATH).parent.mkdir(parents=True, exist_ok=True)
    offsets = write_weight_file(folder / WEIGHTS_PATH, blobs)
    model = Model_pb2.Model(specificationVersion=_SPEC_VERSION)
    model.mlProgram.version = 1
    for program in sorted(programs, key=lambda program: program.name):
        function = model.mlProgram.functions[program.name]
        function.CopyFrom(program.function)
        for value in blob_values(function):
            value.blobFileValue.fileName = _WEIGHTS_NAME
            value.blobFileValue.offset = offsets[program.blobs[value.blobFileValue.offset].key]
        description = model.description.functions.add()
        description.CopyFrom(program.description)
        description.name = program.name
    model.description.defaultFunctionName = default
    spec = model.SerializeToString(deterministic=True)
    (folder / SPEC_PATH).write_bytes(spec)
    (folder / _MANIFEST_PATH).write_text(_manifest(spec, sorted(offsets)))


def block_of(function: Any) -> Any:
    """The block that holds the function's operations."""
    (block,) = function.block_specializations.values()
    return block


def blob_values(function: Any) -> Iterator[Any]:
    """Every value of `function` that lies in the weight file."""
    for operation in block_of(function).operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.WhichOneof("binding") == "value" and binding.value.WhichOneof("value") == "blobFileValue":
                    yield binding.value
        for value in operation.attributes.values():
            if value.WhichOneof("value") == "blobFileValue":
                yield value


def _program(folder: Path, model: Any, name: str) -> Program:
    function = model.mlProgram.functions[name]
    offsets = [value.blobFileValue.offset for value in blob_values(function)]
    blobs = read_weight_file(folder / WEIGHTS_PATH, offsets) if offsets else {}
    return Program(name=name, function=function, description=_description(model, name), blobs=blobs)


def _description(model: Any, name: str) -> Any:
    """A package of one function may describe it in the model's own fields."""
    for description in model.description.functions:
        if description.name == name:
            return description
    return Model_pb2.FunctionDescription(name=name, input=model.description.input, output=model.description.output)


def _manifest(spec: bytes, weight_keys: Sequence[str]) -> str:
    spec_id = str(uuid.uuid5(_NAMESPACE, spec.hex()))
    weights_id = str(uuid.uuid5(_NAMESPACE, " ".join(weight_keys)))
    items = {
        spec_id: _item("CoreML Model Specification", "model.mlmodel"),
        weights_id: _item("CoreML Model Weights", "weights"),
    }
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": spec_id}
    return json.dumps(manifest, sort_keys=True, indent=4)


def _item(description: str, name: str) -> dict[str, str]:
    return {"author": "com.apple.CoreML", "description": description, "name": name, "path": f"com.apple.CoreML/{name}"}
