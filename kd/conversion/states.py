"""Where a conversion stands, and the work that it still asks for."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from kd.artifacts import Artifact
from kd.conversion.config import ConversionConfig, Preset
from kd.evidence import Measurement

__all__ = [
    "AuditPackage",
    "Auditing",
    "Completed",
    "ConvertFunction",
    "Converted",
    "Converting",
    "Failed",
    "Idle",
    "Job",
    "KeepMeasurements",
    "MeasureFunction",
    "Measuring",
    "MergePackage",
    "Merging",
    "Sealing",
    "State",
    "Work",
    "Working",
    "exported_functions",
    "package_kind",
]

_PROGRAMS: Final = "programs/"


@frozen(kw_only=True)
class Converted:
    """One function as a package of its own."""

    function: str
    artifact: Artifact


@frozen(kw_only=True)
class Job:
    """What the stage was started with and what it has so far."""

    config: ConversionConfig
    inputs: tuple[Artifact, ...]
    seed: int
    functions: tuple[str, ...]
    """Names of the functions to convert, in order."""
    converted: tuple[Converted, ...] = ()
    stamped: tuple[Artifact, ...] = ()
    num_settled: int = 0
    """Presets that are stamped or refused."""
    measurements: tuple[Measurement, ...] = ()


@frozen(kw_only=True)
class Idle:
    """Not begun."""


@frozen(kw_only=True)
class Converting:
    """Functions are converted one by one."""

    job: Job


@frozen(kw_only=True)
class Merging:
    """The package of `preset` is to be written."""

    job: Job
    preset: Preset


@frozen(kw_only=True)
class Auditing:
    """The package of `preset` is to be audited."""

    job: Job
    preset: Preset
    package: Artifact
    num_audits: int = 0


@frozen(kw_only=True)
class Measuring:
    """The functions of the package are run and compared one by one."""

    job: Job
    preset: Preset
    package: Artifact
    measured: tuple[str, ...] = ()


@frozen(kw_only=True)
class Sealing:
    """Every preset is settled; the measurements are to be stored."""

    job: Job


@frozen(kw_only=True)
class Completed:
    """The stage is done."""

    outputs: tuple[Artifact, ...]


Working = Converting | Merging | Auditing | Measuring | Sealing


@frozen(kw_only=True)
class Failed:
    """The stage gave up at `step`."""

    step: str
    reason: str
    is_retryable: bool
    before: Working
    """Where it goes on if it is tried again."""


State = Idle | Converting | Merging | Auditing | Measuring | Sealing | Completed | Failed


@frozen(kw_only=True)
class ConvertFunction:
    """Convert one function to half precision."""

    inputs: tuple[Artifact, ...]
    function: str
    threads: int


@frozen(kw_only=True)
class MergePackage:
    """Compress the converted functions as the preset says and write them as one package."""

    preset: Preset
    converted: tuple[Converted, ...]


@frozen(kw_only=True)
class AuditPackage:
    """Check the file itself: signature, element types, weights."""

    preset: Preset
    package: Artifact
    inputs: tuple[Artifact, ...]
    functions: tuple[str, ...]


@frozen(kw_only=True)
class MeasureFunction:
    """Run one function of the package and compare it."""

    preset: Preset
    package: Artifact
    inputs: tuple[Artifact, ...]
    function: str
    config: ConversionConfig
    seed: int


@frozen(kw_only=True)
class KeepMeasurements:
    """Store all measurements as an artifact."""

    measurements: tuple[Measurement, ...]


Work = ConvertFunction | MergePackage | AuditPackage | MeasureFunction | KeepMeasurements


def exported_functions(export: Artifact) -> tuple[str, ...]:
    """The functions that an export has programs of, shortest first."""
    paths = [file.path for file in export.files if file.path.startswith(_PROGRAMS)]
    names = [path.removeprefix(_PROGRAMS).removesuffix(".pt2") for path in paths]
    return tuple(sorted(names, key=lambda name: (int(name.rpartition("_")[2]), name)))


def package_kind(preset: Preset) -> str:
    """The kind of artifact that a preset's package is."""
    return f"package.{preset}"
