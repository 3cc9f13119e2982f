"""How nearly a function of a package computes what its exported program does, and what the package's own prefill does.

Positions are counted as those that an output rests on, past and new: a decode function of length 64 reads 64 of them to
give one row of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kd.conversion.candidate import Candidate
from kd.conversion.config import ParityConfig, Preset
from kd.conversion.events import ParityMeasured
from kd.conversion.reference import Outputs
from kd.models.contract import FunctionSpec
from kd.models.parity import Pair, RowName

__all__ = ["measure_parity"]

_ROWS: dict[Preset, RowName] = {"fp16": "fp16", "ane-int8": "int8"}


def measure_parity(
    candidate: Candidate, function: FunctionSpec, config: ParityConfig, seed: int, preset: Preset, artifact: str
) -> tuple[ParityMeasured, ...]:
    """`function` against its program within the limits of the preset; if it has a past, against the prefill of the same file too."""
    reference = candidate.reference.outputs(function, config, seed)
    found = candidate.outputs(function, config, seed)
    num_tokens = [len(probe.ids) for probe in candidate.reference.probes(function, config, seed)]
    compared = [_compare("program", _ROWS[preset], reference, found, num_tokens, function.name, preset, artifact)]
    if function.num_past:
        # The same weights on both sides: half precision is all that may differ, whatever the preset.
        expected, continued = candidate.continued(function, config, seed)
        compared.insert(0, _compare("prefill", "fp16", expected, continued, num_tokens, function.name, preset, artifact))
    return tuple(compared)


def _compare(
    pair: Literal["program", "prefill"],
    row: RowName,
    reference: Sequence[Outputs],
    found: Sequence[Outputs],
    num_tokens: Sequence[int],
    function: str,
    preset: Preset,
    artifact: str,
) -> ParityMeasured:
    sums = Pair(row)
    for expected, got, count in zip(reference, found, num_tokens, strict=True):
        sums.add(expected, got, num_positions=count)
    slice_ = f"{preset}/{function}" if pair == "program" else f"{preset}/{function}/prefill"
    report = sums.report(slice_, subject=artifact)
    return ParityMeasured(
        preset=preset,
        artifact=artifact,
        engine="mil",
        mode="fp16-contract",
        function=function,
        pair=pair,
        status=report.status,
        findings=report.findings,
        num_sequences=sums.num_sequences,
        num_positions=sums.num_positions,
        measurements=report.measurements,
    )
