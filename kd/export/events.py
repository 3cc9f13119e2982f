"""What can happen in an export; stored for ever under the names at the end."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from kd.artifacts import Artifact, FileRef
from kd.evidence import Measurement
from kd.export.config import ExportConfig
from ledger.record import BlobRef
from ledger.registry import Durability, Entry

__all__ = [
    "ENTRIES",
    "ContractSealed",
    "ExportCompleted",
    "ExportEvent",
    "ExportFailed",
    "ExportRetried",
    "ExportStarted",
    "HfExported",
    "InvariantChecked",
    "OnnxExported",
    "ParityMeasured",
    "ProgramExported",
    "TwinVerified",
]


@frozen(kw_only=True)
class ExportStarted:
    """Someone asked for the export of a student."""

    config: ExportConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class TwinVerified:
    """The twin was compared with the model that was trained."""

    model: str
    """Digest of the student artifact."""
    num_params: int
    num_held_out_sequences: int
    num_drawn_sequences: int
    """Sequences drawn from the vocabulary because the held-out text was too short."""


@frozen(kw_only=True)
class ProgramExported:
    """A function of fixed shape was traced, stored and read back."""

    function: str
    program: BlobRef
    num_nodes: int
    seconds: float


@frozen(kw_only=True)
class OnnxExported:
    """The ONNX graph was traced, checked and stored; its weights are the checkpoint's file."""

    graph: BlobRef
    opset: int
    num_nodes: int
    constants: tuple[str, ...]
    """Initializers that are no checkpoint tensors: shapes and indices."""
    seconds: float


@frozen(kw_only=True)
class HfExported:
    """The Hugging Face folder was written and read back by transformers."""

    files: tuple[FileRef, ...]
    num_texts: int
    """Texts that its tokenizer splits as ours does."""
    seconds: float


@frozen(kw_only=True)
class ParityMeasured:
    """A candidate was compared with its reference."""

    candidate: str
    """`twin`, a function's name, `onnx`, `hf`; `twin` is held against the training model, the others against the twin."""
    row: Literal["fp32", "fp16", "int8"]
    """The row of limits."""
    status: Literal["pass", "fail", "inconclusive"]
    findings: tuple[str, ...]
    """Why it does not pass."""
    measurements: tuple[Measurement, ...]


@frozen(kw_only=True)
class InvariantChecked:
    """A mutation of a function's inputs moved, or did not move, its outputs."""

    function: str
    invariant: Literal["causality", "kv_live", "padding", "position", "shapes"]
    is_held: bool
    worst: float
    """Largest movement where nothing may move, smallest where something must, as a share of the largest value."""
    limit: float


@frozen(kw_only=True)
class ContractSealed:
    """The contract was written; `digest` names the export."""

    digest: str
    contract: BlobRef


@frozen(kw_only=True)
class ExportCompleted:
    """The export is done."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class ExportFailed:
    """The export gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class ExportRetried:
    """The export goes on where it failed."""


ExportEvent = (
    ExportStarted
    | TwinVerified
    | ProgramExported
    | OnnxExported
    | HfExported
    | ParityMeasured
    | InvariantChecked
    | ContractSealed
    | ExportCompleted
    | ExportFailed
    | ExportRetried
)

_CLASSES: tuple[tuple[str, type], ...] = (
    ("export.started", ExportStarted),
    ("export.twin_verified", TwinVerified),
    ("export.program_exported", ProgramExported),
    ("export.onnx_exported", OnnxExported),
    ("export.hf_exported", HfExported),
    ("export.parity_measured", ParityMeasured),
    ("export.invariant_checked", InvariantChecked),
    ("export.contract_sealed", ContractSealed),
    ("export.completed", ExportCompleted),
    ("export.failed", ExportFailed),
    ("export.retried", ExportRetried),
)

ENTRIES = tuple(Entry(name=name, version=1, cls=cls, durability=Durability.TRANSITION) for name, cls in _CLASSES)
