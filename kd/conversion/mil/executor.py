"""Runs the functions of a saved package: the specification and the weight file are all it reads.

Two modes: `fp16-contract` computes in float32 inside an operation and rounds once to its declared element type;
`exact32` never rounds, and takes the weights as stored. Inputs are checked for name, dtype and shape. Weights are
decoded at their first use and kept for all functions of the package. An operation without a kernel is found when the
function is opened, before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from attrs import define, field, frozen

from kd.conversion.mil.errors import InputMismatchError, UnsupportedOpError
from kd.conversion.mil.kernels import KERNELS, MOVEMENT
from kd.conversion.mil.values import Array, TensorType, constant, round_half, tensor_type
from kd.conversion.package import Program, block_of, read_package
from kd.errors import UsageError

__all__ = ["MilFunction", "MilPackage", "Mode", "Trace", "load"]

Mode = Literal["fp16-contract", "exact32"]
Trace = Callable[[str, Array], None]
"""Called with the name and value of every result."""

_CONST: Final = "const"
_IO_DTYPES: Final[Mapping[str, Mapping[Mode, Any]]] = {
    "fp16": {"fp16-contract": np.float16, "exact32": np.float32},
    "fp32": {"fp16-contract": np.float32, "exact32": np.float32},
    "int32": {"fp16-contract": np.int32, "exact32": np.int32},
}


@frozen(kw_only=True)
class _Step:
    """One operation: what it reads, what it makes, and which values nobody needs after it."""

    op: str
    name: str
    inputs: Mapping[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    last_uses: tuple[str, ...] = ()


@define(eq=False)
class MilPackage:
    """A package on disk, ready to run."""

    programs: Mapping[str, Program]
    _decoded: dict[tuple[Any, ...], Array] = field(factory=dict, repr=False)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of its functions."""
        return tuple(self.programs)

    def function(self, name: str) -> MilFunction:
        """The function called `name`; UnsupportedOpError if it holds an operation without a kernel."""
        if name not in self.programs:
            raise UsageError(f"The package has no function {name!r}, expected one of {', '.join(self.programs)}.")
        return MilFunction(self.programs[name], self._decoded)


def load(folder: Path) -> MilPackage:
    """The package in `folder`; UsageError if there is none."""
    return MilPackage({program.name: program for program in read_package(folder)})


class MilFunction:
    """One function: `inputs` and `outputs` are its signature, `run` computes it."""

    def __init__(self, program: Program, decoded: dict[tuple[Any, ...], Array]) -> None:
        block = block_of(program.function)
        self.name = program.name
        self.inputs = {value.name: tensor_type(value.type) for value in program.function.inputs}
        self._output_names = tuple(block.outputs)
        self._program = program
        self._decoded = decoded
        self._constants: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}
        self._steps = _with_last_uses([step for step in map(self._read, block.operations) if step is not None], self._output_names)
        made = dict(self.inputs)
        made.update(output for step in self._steps for output in step.outputs)
        self.outputs = {name: made[name] for name in self._output_names}

    def run(self, inputs: Mapping[str, Array], *, mode: Mode = "fp16-contract", trace: Trace | None = None) -> dict[str, Array]:
        """The outputs by name, in their declared element type; float32 for half precision in mode `exact32`."""
        self._check(inputs, mode)
        values: dict[str, Any] = dict(self._constants)
        values.update({name: _hold(array) for name, array in inputs.items()})
        for step in self._steps:
            for (name, declared), result in zip(step.outputs, self._compute(step, values, mode), strict=True):
                if tuple(result.shape) != declared.shape:
                    raise UnsupportedOpError(step.op, step.name, self.name, f" whose result has shape {result.shape}, not {declared.shape}")
                is_rounded = declared.dtype == "fp16" and mode == "fp16-contract" and step.op not in MOVEMENT
                values[name] = round_half(result) if is_rounded else result
                if trace is not None:
                    trace(name, values[name])
            for name in step.last_uses:
                del values[name]
        return {name: values[name].astype(_IO_DTYPES[self.outputs[name].dtype][mode]) for name in self._output_names}

    def _compute(self, step: _Step, values: Mapping[str, Any], mode: Mode) -> tuple[Array, ...]:
        arguments = {name: self._argument(source, values, mode) for name, source in step.inputs.items()}
        try:
            return KERNELS[step.op](arguments)
        except ValueError as error:
            raise UnsupportedOpError(step.op, step.name, self.name, f" {error}") from error

    def _argument(self, source: str | tuple[str, ...], values: Mapping[str, Any], mode: Mode) -> Any:
        if isinstance(source, tuple):
            return tuple(self._value(name, values, mode) for name in source)
        return self._value(source, values, mode)

    def _value(self, name: str, values: Mapping[str, Any], mode: Mode) -> Any:
        return self._weight(name, mode) if name in self._weights else values[name]

    def _weight(self, name: str, mode: Mode) -> Array:
        operation = self._weights[name]
        key = (mode, *_blob_keys(operation, self._program), tensor_type(operation.outputs[0].type).shape)
        if key not in self._decoded:
            self._decoded[key] = self._decode(operation, mode)
        return self._decoded[key]

    def _decode(self, operation: Any, mode: Mode) -> Array:
        if operation.type == _CONST:
            array = self._constant(operation, operation.attributes["val"])
            assert not isinstance(array, str)
            return array
        arguments = {name: self._constant(operation, argument.arguments[0].value) for name, argument in operation.inputs.items()}
        try:
            (exact,) = KERNELS[operation.type](arguments)
        except ValueError as error:
            raise UnsupportedOpError(operation.type, _name(operation), self.name, f" {error}") from error
        return round_half(exact) if mode == "fp16-contract" else exact

    def _read(self, operation: Any) -> _Step | None:
        """The step of `operation`; None for a constant, which is put aside instead."""
        if operation.type == _CONST and operation.attributes["val"].WhichOneof("value") != "blobFileValue":
            self._constants[operation.outputs[0].name] = self._constant(operation, operation.attributes["val"])
            return None
        if operation.type != _CONST and operation.type not in KERNELS:
            raise UnsupportedOpError(operation.type, _name(operation), self.name)
        if operation.type == _CONST or operation.type.startswith("constexpr_"):
            self._weights[operation.outputs[0].name] = operation
            return None
        inputs = {name: self._source(operation, name, argument) for name, argument in operation.inputs.items()}
        outputs = tuple((output.name, tensor_type(output.type)) for output in operation.outputs)
        return _Step(op=operation.type, name=_name(operation), inputs=inputs, outputs=outputs)

    def _source(self, operation: Any, name: str, argument: Any) -> str | tuple[str, ...]:
        """Names of the values that an argument reads; one written in place becomes a constant of its own."""
        names = []
        for index, binding in enumerate(argument.arguments):
            if binding.WhichOneof("binding") == "name":
                names.append(str(binding.name))
                continue
            key = f"{operation.outputs[0].name}/{name}/{index}"
            self._constants[key] = self._constant(operation, binding.value)
            names.append(key)
        return tuple(names) if name == "values" else names[0]

    def _constant(self, operation: Any, value: Any) -> Array | str:
        try:
            return constant(value, self._program.blobs)
        except ValueError as error:
            raise UnsupportedOpError(operation.type, _name(operation), self.name, f" {error}") from error

    def _check(self, inputs: Mapping[str, Array], mode: Mode) -> None:
        if wrong := sorted(set(inputs) ^ set(self.inputs)):
            raise InputMismatchError(f"Function {self.name!r} takes {', '.join(self.inputs)}; missing or extra: {', '.join(wrong)}.")
        for name, declared in self.inputs.items():
            expected = np.dtype(_IO_DTYPES[declared.dtype][mode])
            found = inputs[name]
            if found.dtype != expected or tuple(found.shape) != declared.shape:
                raise InputMismatchError(
                    f"Input {name!r} of {self.name!r} is {found.dtype} {tuple(found.shape)}, expected {expected} {declared.shape}"
                    f" in mode {mode}."
                )


def _with_last_uses(steps: list[_Step], kept: tuple[str, ...]) -> tuple[_Step, ...]:
    """The steps, each with the results that no later step reads."""
    made = {name for step in steps for name, _ in step.outputs}
    seen = set(kept)
    freed: list[_Step] = []
    for step in reversed(steps):
        touched = {name for source in step.inputs.values() for name in ((source,) if isinstance(source, str) else source)}
        touched.update(name for name, _ in step.outputs)
        last = sorted((touched & made) - seen)
        seen |= touched
        freed.append(_Step(op=step.op, name=step.name, inputs=step.inputs, outputs=step.outputs, last_uses=tuple(last)))
    return tuple(reversed(freed))


def _hold(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _name(operation: Any) -> str:
    return str(operation.attributes["name"].immediateValue.tensor.strings.values[0]) if "name" in operation.attributes else operation.type


def _blob_keys(operation: Any, program: Program) -> tuple[str, ...]:
    if operation.type == _CONST:
        values = [operation.attributes["val"]]
    else:
        values = [argument.arguments[0].value for _, argument in sorted(operation.inputs.items())]
    return tuple(program.blobs[value.blobFileValue.offset].key for value in values)
