"""A small export for tests: weights drawn from a seed, programs traced, contract written, as the export stage stores them."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from kd.artifacts import Artifact
from kd.export.functions import FunctionPlan, fixed_function, kv_layout
from kd.export.torch_program import export_function
from kd.export.twin import weight_free_twin
from kd.models.architecture import Architecture
from kd.models.contract import WEIGHTS_FILE, Contract, Producer, SpecialTokens, contract_to_json
from kd.models.programs import program_to_bytes, weight_spec
from kd.ports import Ports

__all__ = ["TINY", "draw_weights", "export_artifact", "plans", "write_export"]

TINY = Architecture(
    vocab_size=64,
    hidden_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    intermediate_size=48,
    max_context_tokens=64,
)


def plans(*lengths: int, width: int = 4) -> tuple[FunctionPlan, ...]:
    """Prefill, decode and verify of each length."""
    found = []
    for length in lengths:
        shapes = (("prefill", length, 0), ("decode", 1, length - 1), ("verify", width, length - width))
        for kind, num_queries, num_past in shapes:
            label = f"{kind}{width}" if kind == "verify" else kind
            found.append(FunctionPlan(name=f"{label}_{length}", kind=kind, length=length, num_queries=num_queries, num_past=num_past))
    return tuple(found)


def draw_weights(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Weights of ordinary size: unit activations stay near unit size, and attention is neither flat nor hard."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, tensor in sorted(weight_free_twin(architecture).state_dict().items()):
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 1:
            weights[name] = 1.0 + 0.1 * noise
        else:
            weights[name] = noise if name == "model.embed_tokens.weight" else noise * (1.0 / tensor.shape[1] ** 0.5)
    return weights


def write_export(folder: Path, architecture: Architecture, functions: tuple[FunctionPlan, ...], weights: Mapping[str, Tensor]) -> Contract:
    """Write the files of an export below `folder`, without its ONNX graph; the answer is its contract."""
    (folder / "programs").mkdir(parents=True)
    save_file(dict(weights), folder / WEIGHTS_FILE)
    specs = []
    for plan in functions:
        data = _program(architecture, plan)
        (folder / "programs" / f"{plan.name}.pt2").write_bytes(data)
        specs.append(fixed_function(architecture, plan, hashlib.sha256(data).hexdigest()))
    contract = Contract(
        model="0" * 64,
        tokenizer="0" * 64,
        arch=architecture,
        kv=kv_layout(architecture),
        weights={name: weight_spec(tensor) for name, tensor in sorted(weights.items())},
        functions=tuple(specs),
        special=SpecialTokens(bos=1, eos=2, pad=0),
        producer=Producer(kd="0", torch=torch.__version__, python=platform.python_version()),
    )
    (folder / "contract.json").write_bytes(contract_to_json(contract))
    return contract


def export_artifact(ports: Ports, architecture: Architecture = TINY, functions: tuple[FunctionPlan, ...] = (), seed: int = 0) -> Artifact:
    """The artifact `export` of a drawn model."""
    folder = ports.new_folder("export")
    write_export(folder, architecture, functions or plans(16), draw_weights(architecture, seed))
    return ports.keep("export", folder)


@functools.cache
def _program(architecture: Architecture, plan: FunctionPlan) -> bytes:
    return program_to_bytes(export_function(architecture, plan))
