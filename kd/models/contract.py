"""The contract of an export, `kd.contract/1`: what its programs take, give and hold, in canonical JSON.

A contract is written from the signatures of the programs themselves; its digest names the export. Free of torch, so
that a decoding engine can read one without loading it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from attrs import asdict, field, frozen, validators

from kd.errors import UsageError
from kd.models.architecture import Architecture

__all__ = [
    "CONTRACT_FILE",
    "CONTRACT_FORMAT",
    "MASK_VALUE",
    "WEIGHTS_FILE",
    "Contract",
    "FunctionSpec",
    "KvLayout",
    "Producer",
    "SpecialTokens",
    "TensorSpec",
    "WeightSpec",
    "contract_digest",
    "contract_from_json",
    "contract_to_json",
]

CONTRACT_FORMAT: Final = "kd.contract/1"
CONTRACT_FILE: Final = "contract.json"
WEIGHTS_FILE: Final = "weights.safetensors"
MASK_VALUE: Final = -10000.0
"""What the additive mask holds where a query may not look; finite, so that fp16 and the Neural Engine can hold it."""

_sha256 = validators.matches_re(r"[0-9a-f]{64}")


@frozen(kw_only=True)
class TensorSpec:
    """One input or output: an int is a fixed size, a letter a size that the caller chooses.

    T counts query tokens, P past tokens, S = P + T all keys.
    """

    name: str
    dtype: Literal["int32", "float32"]
    shape: tuple[int | str, ...]


@frozen(kw_only=True)
class WeightSpec:
    """One tensor of `weights.safetensors`; the digest is over its little-endian bytes in row-major order."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str = field(validator=_sha256)


@frozen(kw_only=True)
class FunctionSpec:
    """One program: `prefill` sees no past, `decode` one token, `verify` several; `dynamic` any T ≥ 1 and P ≥ 0."""

    name: str
    kind: Literal["prefill", "decode", "verify", "dynamic"]
    length: int = field(validator=validators.ge(1))
    """Keys in all, past and new; for `dynamic` the largest number of them."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    program: str
    """Path of the program below the export's folder."""
    sha256: str = field(validator=_sha256)
    """Digest of the program file."""
    pad: Literal["left", "none"] = "left"
    """Where unused slots of queries and past lie; the mask hides them."""
    mask_value: float = MASK_VALUE

    def input(self, name: str) -> TensorSpec:
        """The input called `name`; KeyError if there is none."""
        return _named(self.inputs, name)

    def output(self, name: str) -> TensorSpec:
        """The output called `name`; KeyError if there is none."""
        return _named(self.outputs, name)

    @property
    def num_queries(self) -> int | None:
        """T, or None where the caller chooses it."""
        size = self.input("ids").shape[1]
        return size if isinstance(size, int) else None

    @property
    def num_past(self) -> int | None:
        """P, or None where the caller chooses it."""
        if self.kind == "prefill":
            return 0
        size = self.input("past_k").shape[2]
        return size if isinstance(size, int) else None


@frozen(kw_only=True)
class KvLayout:
    """How keys (after rotation) and values of all layers lie in one tensor: row `layer * kv_heads + kv_head`."""

    pack: tuple[int | str, ...]
    order: Literal["layer,kv_head"] = "layer,kv_head"
    dtype: Literal["float32"] = "float32"


@frozen(kw_only=True)
class SpecialTokens:
    """Token ids with a meaning of their own."""

    bos: int
    eos: int
    pad: int


@frozen(kw_only=True)
class Producer:
    """What wrote the export."""

    kd: str
    torch: str
    python: str


@frozen(kw_only=True)
class Contract:
    """What the programs of one export compute, and from which bytes."""

    format: Literal["kd.contract/1"] = CONTRACT_FORMAT
    model: str = field(validator=_sha256)
    """Digest of the student artifact that was exported."""
    role: Literal["student"] = "student"
    tokenizer: str
    """Digest of the tokenizer."""
    arch: Architecture
    layout: Literal["btd"] = "btd"
    attention: Literal["fused"] = "fused"
    state: Literal["functional"] = "functional"
    kv: KvLayout
    weights: dict[str, WeightSpec]
    functions: tuple[FunctionSpec, ...]
    special: SpecialTokens
    producer: Producer

    def function(self, name: str) -> FunctionSpec:
        """The function called `name`; UsageError if the export has none."""
        for function in self.functions:
            if function.name == name:
                return function
        known = ", ".join(function.name for function in self.functions)
        raise UsageError(f"The export has no function {name!r}; expected one of: {known}.")

    @property
    def programs(self) -> tuple[FunctionSpec, ...]:
        """The functions of fixed shape, which are stored as ExportedPrograms."""
        return tuple(function for function in self.functions if function.kind != "dynamic")


def contract_to_json(contract: Contract) -> bytes:
    """Canonical JSON: sorted keys, no spaces."""
    return json.dumps(asdict(contract), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def contract_from_json(data: bytes) -> Contract:
    """The inverse of `contract_to_json`; raises UsageError for anything that it would not have written."""
    try:
        contract = msgspec.json.decode(data, type=Contract, strict=True)
    except msgspec.MsgspecError as error:
        raise UsageError(f"The file is no contract of format {CONTRACT_FORMAT!r}: {error}. Export the student again.") from error
    if contract_to_json(contract) != data:
        raise UsageError(
            f"The contract holds keys or spaces that format {CONTRACT_FORMAT!r} does not have: use one that kd wrote, or export again."
        )
    return contract


def contract_digest(contract: Contract) -> str:
    """SHA-256 of the canonical JSON, which names the export."""
    return hashlib.sha256(contract_to_json(contract)).hexdigest()


def _named(specs: Sequence[TensorSpec], name: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    raise KeyError(name)
