"""The contract of an export, and the artifacts it hands over, put together from what is already stored."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import load_file

from kd.artifacts import Artifact, FileRef, artifact_of
from kd.evidence import measurements_to_json
from kd.export.events import ContractSealed
from kd.export.functions import ONNX_PROGRAM, dynamic_function, fixed_function, kv_layout, plan_functions
from kd.export.states import Seal
from kd.models.contract import CONTRACT_FILE, WEIGHTS_FILE, Contract, Producer, SpecialTokens, contract_digest, contract_to_json
from kd.models.programs import weight_spec
from kd.models.student import read_architecture
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from ledger.record import BlobRef

__all__ = ["TOKENIZER_FILES", "seal", "special_tokens"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def seal(work: Seal, ports: Ports) -> tuple[ContractSealed, tuple[Artifact, ...]]:
    """The sealed contract, and the artifacts `export`, `hf` (if it was asked for) and `measurements.export`."""
    student = artifact_of(work.basis.inputs, "student")
    folder = ports.fetch(student)
    contract = _contract(work, student, folder)
    stored = ports.keep_bytes(contract_to_json(contract))
    files: dict[str, BlobRef] = {
        CONTRACT_FILE: stored,
        WEIGHTS_FILE: student.file(WEIGHTS_FILE),
        ONNX_PROGRAM: work.onnx.graph,
        f"onnx/{WEIGHTS_FILE}": student.file(WEIGHTS_FILE),
        **{name: student.file(name) for name in TOKENIZER_FILES},
        **{f"programs/{program.function}.pt2": program.program for program in work.programs},
    }
    outputs = [_artifact("export", files)]
    if work.hf is not None:
        outputs.append(Artifact(kind="hf", files=work.hf.files))
    outputs.append(_artifact("measurements.export", {"measurements.json": ports.keep_bytes(measurements_to_json(work.measurements))}))
    return ContractSealed(digest=contract_digest(contract), contract=stored), tuple(outputs)


def special_tokens(tokenizer: ChatTokenizer) -> SpecialTokens:
    """The tokens of `tokenizer` that have a meaning of their own."""
    return SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)


def _contract(work: Seal, student: Artifact, folder: Path) -> Contract:
    architecture = read_architecture(folder)
    tokenizer = ChatTokenizer.load(folder)
    weights = {name: weight_spec(tensor) for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    digests = {program.function: program.program.sha256 for program in work.programs}
    programs = tuple(fixed_function(architecture, plan, digests[plan.name]) for plan in plan_functions(work.basis.config))
    return Contract(
        model=student.digest,
        tokenizer=tokenizer.digest,
        arch=architecture,
        kv=kv_layout(architecture),
        weights=dict(sorted(weights.items())),
        functions=(*programs, dynamic_function(architecture, work.onnx.graph.sha256)),
        special=special_tokens(tokenizer),
        producer=Producer(kd=metadata.version("kd-ledger"), torch=str(torch.__version__), python=platform.python_version()),
    )


def _artifact(kind: str, files: Mapping[str, BlobRef]) -> Artifact:
    return Artifact(kind=kind, files=tuple(FileRef(path=path, blob=blob) for path, blob in sorted(files.items())))
