"""Decoding through ONNX Runtime: the dynamic program of an export, with the key-value cache held by the session.

The engine reads the contract and the program it names, and refuses a program that is not the bytes the contract names.

Legend: T new tokens, R rows of the cache (layer times key-value head), D width of a head, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from kd.errors import DigestMismatchError, UsageError
from kd.models.contract import CONTRACT_FILE, Contract, FunctionSpec, contract_digest, contract_from_json
from kd.models.program_inputs import Past, Rotation, program_inputs
from kd.models.rope import rotary_tables
from kd.runtime.engine import EngineIdentity

__all__ = ["OrtEngine", "OrtSession"]

_Float32 = NDArray[np.float32]


class OrtEngine:
    """The exported student on the CPU."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """From the folder of an export; UsageError if it has no dynamic program, DigestMismatchError if it was altered."""
        path = folder / CONTRACT_FILE
        if not path.is_file():
            raise UsageError(f"{folder} has no {CONTRACT_FILE}, expected the folder of an export: give the artifact of kind 'export'.")
        self.contract = contract_from_json(path.read_bytes())
        self.function = _dynamic_function(self.contract)
        arch = self.contract.arch
        cos_PD, sin_PD = rotary_tables(arch.head_dim, self.context_tokens, arch.rope_theta)
        self._rotation = Rotation(cos=cos_PD.numpy(), sin=sin_PD.numpy())
        self._threads = threads
        self._session = _ort_session(folder / self.function.program, self.function, threads)

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity(kind="ort", version=ort.__version__, model=contract_digest(self.contract), threads=self._threads)

    @property
    def vocab_size(self) -> int:
        return self.contract.arch.vocab_size

    @property
    def context_tokens(self) -> int:
        return self.function.length

    def open_session(self) -> OrtSession:
        """A session that holds nothing."""
        return OrtSession(self)

    def run(self, ids: Sequence[int], past: Past) -> tuple[_Float32, Past]:
        """Logits `[V]` after `ids`, and the keys and values of `ids`."""
        inputs = program_inputs(self.function, self._rotation, ids, past)
        outputs = cast("list[_Float32]", self._session.run(["logits", "new_k", "new_v"], inputs))
        logits_1TV, new_k_1RTD, new_v_1RTD = outputs
        return logits_1TV[0, -1], Past(k=new_k_1RTD, v=new_v_1RTD)


class OrtSession:
    """Keys and values of one conversation, in memory."""

    def __init__(self, engine: OrtEngine) -> None:
        self._engine = engine
        self._past = Past.empty(engine.contract.arch)

    @property
    def length(self) -> int:
        return self._past.num_tokens

    def extend(self, ids: Sequence[int]) -> _Float32:
        """Add `ids`, at least one, and return the logits `[V]` of what follows them."""
        if not ids or self.length + len(ids) > self._engine.context_tokens:
            raise ValueError(f"{len(ids)} tokens cannot follow {self.length}: give 1 to {self._engine.context_tokens - self.length}.")
        logits_V, new = self._engine.run(ids, self._past)
        past = self._past
        self._past = Past(k=np.concatenate((past.k, new.k), axis=2), v=np.concatenate((past.v, new.v), axis=2))
        return logits_V

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"The session holds {self.length} tokens and cannot be cut to {length}: give a length within it.")
        self._past = self._past.first(length)


def _dynamic_function(contract: Contract) -> FunctionSpec:
    for function in contract.functions:
        if function.kind == "dynamic":
            return function
    raise UsageError("The export has no function of kind 'dynamic', which decoding needs: export it to ONNX.")


def _ort_session(path: Path, function: FunctionSpec, threads: int) -> ort.InferenceSession:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != function.sha256:
        raise DigestMismatchError(str(path), function.sha256, found)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
