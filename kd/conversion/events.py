"""What can happen while programs become Core ML packages."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from kd.artifacts import Artifact
from kd.conversion.config import ConversionConfig, Preset
from kd.evidence import Measurement
from ledger.registry import Durability, Entry

__all__ = [
    "AUDITS",
    "ENTRIES",
    "ArtifactRefused",
    "ArtifactStamped",
    "Audit",
    "AuditCompleted",
    "ConversionCompleted",
    "ConversionFailed",
    "ConversionRetried",
    "ConversionStarted",
    "Event",
    "FunctionCompressed",
    "FunctionConverted",
    "Invariant",
    "InvariantChecked",
    "PackageMerged",
    "ParityMeasured",
    "Status",
]

Audit = Literal["signature", "dtypes", "weights", "integer_share"]
AUDITS: Final[tuple[Audit, ...]] = ("signature", "dtypes", "weights", "integer_share")
"""Every package passes these, in this order."""
Invariant = Literal["causality", "padding_inert", "kv_live", "position_live", "shapes"]
Status = Literal["pass", "fail", "inconclusive"]


@frozen(kw_only=True)
class ConversionStarted:
    """The stage has begun on the export among `inputs`."""

    config: ConversionConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class FunctionConverted:
    """One program became a Core ML function in half precision, kept as a package of its own."""

    function: str
    artifact: Artifact
    num_ops: int


@frozen(kw_only=True)
class FunctionCompressed:
    """The weights of one function were stored in fewer bits."""

    function: str
    preset: Preset
    bytes_before: int
    """Bytes of the weights that the function uses."""
    bytes_after: int


@frozen(kw_only=True)
class PackageMerged:
    """The functions lie in one package and share their weights."""

    preset: Preset
    artifact: Artifact
    functions: tuple[str, ...]
    weight_bytes: int


@frozen(kw_only=True)
class AuditCompleted:
    """One property of a package was checked on the file itself."""

    preset: Preset
    artifact: str
    """Digest of the package."""
    audit: Audit
    status: Status
    findings: tuple[str, ...]
    """What is wrong; empty if nothing."""
    num_checked: int


@frozen(kw_only=True)
class InvariantChecked:
    """One property that every decoder has was tested by running a function of a package."""

    preset: Preset
    artifact: str
    engine: Literal["mil"]
    function: str
    invariant: Invariant
    status: Status
    worst: float | None
    """The value nearest to the bar, relative to the largest logit; None where the invariant counts nothing."""
    finding: str


@frozen(kw_only=True)
class ParityMeasured:
    """A function of a package was compared on whole sequences."""

    preset: Preset
    artifact: str
    engine: Literal["mil"]
    mode: Literal["fp16-contract"]
    function: str
    pair: Literal["program", "prefill"]
    """What it was compared with: the exported program in single precision, or the package's own prefill."""
    status: Status
    findings: tuple[str, ...]
    num_sequences: int
    num_positions: int
    measurements: tuple[Measurement, ...]


@frozen(kw_only=True)
class ArtifactStamped:
    """A package computes what its programs compute, as far as this stage can tell."""

    preset: Preset
    artifact: str
    stamp: Literal["graph-verified"]
    because: str


@frozen(kw_only=True)
class ArtifactRefused:
    """A package is not handed over."""

    preset: Preset
    artifact: str | None
    """Digest of the package; None if there was none yet."""
    reasons: tuple[str, ...]


@frozen(kw_only=True)
class ConversionCompleted:
    """The stage is done: every stamped package, and the measurements."""

    outputs: tuple[Artifact, ...]


@frozen(kw_only=True)
class ConversionFailed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class ConversionRetried:
    """A failed stage went on where it had stopped."""


Event = (
    ConversionStarted
    | FunctionConverted
    | FunctionCompressed
    | PackageMerged
    | AuditCompleted
    | InvariantChecked
    | ParityMeasured
    | ArtifactStamped
    | ArtifactRefused
    | ConversionCompleted
    | ConversionFailed
    | ConversionRetried
)

ENTRIES: tuple[Entry, ...] = (
    Entry(name="conversion.started", version=1, cls=ConversionStarted, durability=Durability.TRANSITION),
    Entry(name="conversion.function_converted", version=1, cls=FunctionConverted, durability=Durability.TRANSITION),
    Entry(name="conversion.function_compressed", version=1, cls=FunctionCompressed, durability=Durability.TRANSITION),
    Entry(name="conversion.package_merged", version=1, cls=PackageMerged, durability=Durability.TRANSITION),
    Entry(name="conversion.audit_completed", version=1, cls=AuditCompleted, durability=Durability.TRANSITION),
    Entry(name="conversion.invariant_checked", version=1, cls=InvariantChecked, durability=Durability.TRANSITION),
    Entry(name="conversion.parity_measured", version=1, cls=ParityMeasured, durability=Durability.TRANSITION),
    Entry(name="conversion.artifact_stamped", version=1, cls=ArtifactStamped, durability=Durability.TRANSITION),
    Entry(name="conversion.artifact_refused", version=1, cls=ArtifactRefused, durability=Durability.TRANSITION),
    Entry(name="conversion.completed", version=1, cls=ConversionCompleted, durability=Durability.TRANSITION),
    Entry(name="conversion.failed", version=1, cls=ConversionFailed, durability=Durability.TRANSITION),
    Entry(name="conversion.retried", version=1, cls=ConversionRetried, durability=Durability.TRANSITION),
)
