"""A function of a package as the reference executor runs it on probes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kd.conversion.config import ParityConfig
from kd.conversion.mil.executor import MilFunction, MilPackage, Trace
from kd.conversion.probes import Array, Inputs, KeyValues, probe_inputs
from kd.conversion.reference import Outputs, Reference, real_outputs
from kd.models.contract import FunctionSpec

__all__ = ["Candidate"]


class Candidate:
    """The functions of one package; what its prefills gave is kept, since its decode functions go on from there."""

    def __init__(self, package: MilPackage, reference: Reference) -> None:
        self.reference = reference
        self._package = package
        self._functions: dict[str, MilFunction] = {}
        self._outputs: dict[tuple[str, ParityConfig, int], tuple[Outputs, ...]] = {}

    def function(self, name: str) -> MilFunction:
        """The function called `name`."""
        if name not in self._functions:
            self._functions[name] = self._package.function(name)
        return self._functions[name]

    def run(self, function: FunctionSpec, inputs: Inputs, num_tokens: int, trace: Trace | None = None) -> Outputs:
        """Outputs of real tokens in float16, for inputs in float32."""
        results = self.function(function.name).run(_halved(inputs), trace=trace)
        return real_outputs(results, inputs, num_tokens)

    def outputs(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[Outputs, ...]:
        """What `function` gives on each probe, with the past that the exported prefill gave."""
        key = (function.name, config, seed)
        if key not in self._outputs:
            self._outputs[key] = self._run(function, config, seed, self.reference.pasts(function, config, seed))
        return self._outputs[key]

    def continued(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[tuple[Outputs, ...], tuple[Outputs, ...]]:
        """What this package's own prefill gives for the last tokens, and what `function` gives when it goes on from that prefill."""
        prefill = self.outputs(self.reference.prefill_of(function), config, seed)
        pasts = tuple(KeyValues(keys=outputs["new_k"], values=outputs["new_v"]) for outputs in prefill)
        found = self._run(function, config, seed, pasts)
        expected = tuple(_last_tokens(one, other["new_k"].shape[1]) for one, other in zip(prefill, found))
        return expected, tuple({**one, "logits": one["logits"][-1:]} for one in found)

    def _run(self, function: FunctionSpec, config: ParityConfig, seed: int, pasts: tuple[KeyValues | None, ...]) -> tuple[Outputs, ...]:
        contract = self.reference.contract
        probes = self.reference.probes(function, config, seed)
        return tuple(
            self.run(function, probe_inputs(contract, function, probe.ids, past), len(probe.ids)) for probe, past in zip(probes, pasts)
        )


def _last_tokens(outputs: Outputs, count: int) -> Outputs:
    return {"logits": outputs["logits"][-1:], "new_k": outputs["new_k"][:, -count:], "new_v": outputs["new_v"][:, -count:]}


def _halved(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.astype(np.float16) if array.dtype == np.float32 else array for name, array in inputs.items()}
