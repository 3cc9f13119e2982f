"""What the conversion can be told: to begin, what its works found, to give up, to try again."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.conversion.config import ConversionConfig, Preset
from kd.conversion.events import AuditCompleted, FunctionCompressed, InvariantChecked, ParityMeasured

__all__ = [
    "Command",
    "FailConversion",
    "RecordAudits",
    "RecordFunction",
    "RecordMeasurements",
    "RecordPackage",
    "RecordParity",
    "RefusePackage",
    "RetryConversion",
    "StartConversion",
]


@frozen(kw_only=True)
class StartConversion:
    """Begin, with everything that earlier stages handed over."""

    config: ConversionConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class RecordFunction:
    """One function was converted."""

    function: str
    artifact: Artifact
    num_ops: int


@frozen(kw_only=True)
class RecordPackage:
    """The package of a preset was written."""

    preset: Preset
    artifact: Artifact
    weight_bytes: int
    compressed: tuple[FunctionCompressed, ...]
    """What compression did to each function; empty if the preset compresses nothing."""


@frozen(kw_only=True)
class RecordAudits:
    """A package was audited."""

    preset: Preset
    audits: tuple[AuditCompleted, ...]


@frozen(kw_only=True)
class RecordParity:
    """A function of a package was run and compared."""

    preset: Preset
    function: str
    invariants: tuple[InvariantChecked, ...]
    parities: tuple[ParityMeasured, ...]


@frozen(kw_only=True)
class RefusePackage:
    """A package could not be made or run."""

    preset: Preset
    reasons: tuple[str, ...]


@frozen(kw_only=True)
class RecordMeasurements:
    """All measurements were stored."""

    artifact: Artifact


@frozen(kw_only=True)
class FailConversion:
    """Give up at `step`."""

    step: str
    reason: str
    is_retryable: bool


@frozen(kw_only=True)
class RetryConversion:
    """Go on where a retryable failure stopped."""


Command = (
    StartConversion
    | RecordFunction
    | RecordPackage
    | RecordAudits
    | RecordParity
    | RefusePackage
    | RecordMeasurements
    | FailConversion
    | RetryConversion
)
