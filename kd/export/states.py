"""States of the export machine, and the works they ask for."""

from __future__ import annotations

from attrs import frozen

from kd.artifacts import Artifact
from kd.evidence import Measurement
from kd.export.config import ExportConfig
from kd.export.events import HfExported, OnnxExported, ProgramExported
from kd.export.functions import plan_functions
from kd.stage import Completed
from kd.stage import Failed as Outcome

__all__ = [
    "Basis",
    "Completed",
    "ExportHf",
    "ExportOnnx",
    "ExportProgram",
    "Exporting",
    "Failed",
    "Idle",
    "Seal",
    "State",
    "VerifyTwin",
    "Verifying",
    "Work",
    "Working",
]


@frozen(kw_only=True)
class Basis:
    """What fixes the rest of the stage."""

    config: ExportConfig
    inputs: tuple[Artifact, ...]
    seed: int


@frozen(kw_only=True)
class Idle:
    """Nothing was asked for yet."""


@frozen(kw_only=True)
class Verifying:
    """The twin is being compared with the model that was trained."""

    basis: Basis
    measurements: tuple[Measurement, ...] = ()


@frozen(kw_only=True)
class Exporting:
    """Programs and formats are being written, one after another; when all are there they are sealed."""

    basis: Basis
    measurements: tuple[Measurement, ...]
    programs: tuple[ProgramExported, ...] = ()
    onnx: OnnxExported | None = None
    hf: HfExported | None = None

    @property
    def next_function(self) -> str | None:
        """The function that is exported next."""
        plans = plan_functions(self.basis.config)
        return plans[len(self.programs)].name if len(self.programs) < len(plans) else None

    @property
    def needs_hf(self) -> bool:
        return self.basis.config.hf and self.hf is None

    @property
    def num_pieces(self) -> int:
        """Programs and formats in all."""
        return len(plan_functions(self.basis.config)) + 1 + self.basis.config.hf

    @property
    def num_done(self) -> int:
        return len(self.programs) + (self.onnx is not None) + (self.hf is not None)


Working = Verifying | Exporting


@frozen(kw_only=True)
class Failed(Outcome):
    """The stage gave up; `before` is where a retry goes on."""

    before: Working


State = Idle | Working | Completed | Failed


@frozen(kw_only=True)
class VerifyTwin:
    """Compare the twin with the model that was trained."""

    basis: Basis


@frozen(kw_only=True)
class ExportProgram:
    """Trace one function, store it, read it back, and hold it against the twin."""

    basis: Basis
    function: str


@frozen(kw_only=True)
class ExportOnnx:
    """Trace the ONNX graph, check it, and hold it against the twin."""

    basis: Basis


@frozen(kw_only=True)
class ExportHf:
    """Write the Hugging Face folder and hold it against the twin."""

    basis: Basis


@frozen(kw_only=True)
class Seal:
    """Write the contract and put everything together."""

    basis: Basis
    programs: tuple[ProgramExported, ...]
    onnx: OnnxExported
    hf: HfExported | None
    measurements: tuple[Measurement, ...]


Work = VerifyTwin | ExportProgram | ExportOnnx | ExportHf | Seal
