"""What the exported programs compute on the probes, in float32: the oracle that packages are held against.

Programs are loaded once and run once; their outputs stay in memory for the presets that follow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kd.conversion.config import ParityConfig
from kd.conversion.probes import Array, Inputs, KeyValues, Probe, make_probes, probe_inputs
from kd.errors import StageError
from kd.models.contract import Contract, FunctionSpec, contract_from_json
from kd.models.programs import load_program, read_weights

__all__ = ["Outputs", "Reference", "real_outputs"]

Outputs = dict[str, Array]
"""`logits` (rows, V), `new_k` and `new_v` (N, tokens, D), of real tokens only."""


class Reference:
    """The export in `folder`, its weights, and what its programs gave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contract: Contract = contract_from_json((folder / "contract.json").read_bytes())
        self.weights: dict[str, Tensor] = read_weights(folder, self.contract)
        self._modules: dict[str, torch.nn.Module] = {}
        self._outputs: dict[tuple[str, ParityConfig, int], tuple[Outputs, ...]] = {}

    def program(self, function: str) -> torch.export.ExportedProgram:
        """The program of `function` with its weights, which all programs share."""
        program = load_program(self.folder, self.contract, function, weights=self.weights)
        self._modules[function] = program.module()
        return program

    def probes(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[Probe, ...]:
        """The sequences for functions of this length."""
        return make_probes(self.contract, function.length, config.sequences, seed + config.seed)

    def prefill_of(self, function: FunctionSpec) -> FunctionSpec:
        """The prefill of the same length, whose keys and values are the past of `function`."""
        for other in self.contract.functions:
            if (other.kind, other.length) == ("prefill", function.length):
                return other
        raise StageError(
            f"measure {function.name}",
            f"The export has no prefill of length {function.length}, from which {function.name} could take its past: export one.",
            is_retryable=False,
        )

    def outputs(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[Outputs, ...]:
        """What `function` gives on each of its probes."""
        key = (function.name, config, seed)
        if key not in self._outputs:
            self._outputs[key] = self._run(function, config, seed)
        return self._outputs[key]

    def pasts(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[KeyValues | None, ...]:
        """Keys and values of every token of each probe; None for a function without a past."""
        if not function.num_past:
            return tuple(None for _ in self.probes(function, config, seed))
        prefill = self.outputs(self.prefill_of(function), config, seed)
        return tuple(KeyValues(keys=outputs["new_k"], values=outputs["new_v"]) for outputs in prefill)

    def _run(self, function: FunctionSpec, config: ParityConfig, seed: int) -> tuple[Outputs, ...]:
        probes, pasts = self.probes(function, config, seed), self.pasts(function, config, seed)
        if function.name not in self._modules:
            self.program(function.name)
        module = self._modules[function.name]
        names = [spec.name for spec in function.outputs]
        found = []
        with torch.no_grad():
            for probe, past in zip(probes, pasts):
                inputs = probe_inputs(self.contract, function, probe.ids, past)
                results = module(*[torch.from_numpy(inputs[spec.name]) for spec in function.inputs])
                found.append(real_outputs(dict(zip(names, (result.numpy() for result in results))), inputs, len(probe.ids)))
        return tuple(found)


def real_outputs(outputs: Outputs, inputs: Inputs, num_tokens: int) -> Outputs:
    """The rows of real tokens, without the batch axis."""
    num_new = min(num_tokens, inputs["ids"].shape[1])
    logits = outputs["logits"][0]
    return {
        "logits": np.ascontiguousarray(logits[-min(num_new, len(logits)) :]),
        "new_k": np.ascontiguousarray(outputs["new_k"][0][:, -num_new:]),
        "new_v": np.ascontiguousarray(outputs["new_v"][0][:, -num_new:]),
    }
