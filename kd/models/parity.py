"""Measures of how nearly one engine computes what another does, and the limits they are held to.

With reference r and candidate y, in float64:

    psnr_db      10 · log10(max|r|² / mean((y - r)²)); equal tensors have none and are reported as EQUAL_PSNR_DB
    kl_nats      mean over positions of Σ_v softmax(r)_v · (log softmax(r)_v - log softmax(y)_v), temperature 1
    argmax_wide  share of equal argmax among positions where r's best logit leads by 1.0 or more
    argmax       the same over all positions; reported, never held to a limit
    cos          Σ r·y / (‖r‖ · ‖y‖)
    rel          mean|y - r| / max(max|r|, 1e-6)

All of them are held to the limits for logits, psnr_db and cos for every other tensor. Fewer than 8 sequences or 512
positions, a value that is not finite, a reference that is all zero: inconclusive, which never passes.

Legend: N positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from kd.evidence import Measurement

__all__ = [
    "EQUAL_PSNR_DB",
    "LIMITS",
    "MIN_POSITIONS",
    "MIN_SEQUENCES",
    "Pair",
    "PairReport",
    "ParityLimits",
    "ParityStatus",
    "RowName",
    "TensorPair",
    "compare",
]

MIN_SEQUENCES: Final = 8
MIN_POSITIONS: Final = 512
EQUAL_PSNR_DB: Final = 400.0
_WIDE_MARGIN_LOGITS = 1.0
_CHUNK_VALUES = 1 << 20

RowName = Literal["fp32", "fp16", "int8"]
ParityStatus = Literal["pass", "fail", "inconclusive"]


@frozen(kw_only=True)
class ParityLimits:
    """One row of the table of limits: what still counts as the same function."""

    psnr_db: float
    kl_nats: float
    argmax_wide: float
    cos: float
    rel: float


LIMITS: Final[Mapping[RowName, ParityLimits]] = {
    "fp32": ParityLimits(psnr_db=100, kl_nats=1e-6, argmax_wide=1.0, cos=0.999999, rel=1e-4),
    "fp16": ParityLimits(psnr_db=60, kl_nats=1e-3, argmax_wide=0.999, cos=0.999, rel=0.02),
    "int8": ParityLimits(psnr_db=40, kl_nats=1e-2, argmax_wide=0.99, cos=0.998, rel=0.02),
}


@frozen(kw_only=True)
class PairReport:
    """What a pair of engines was found to be."""

    slice: str
    row: RowName
    status: ParityStatus
    findings: tuple[str, ...]
    """Why it does not pass; empty if it does."""
    measurements: tuple[Measurement, ...]


class TensorPair:
    """Running sums over chunks of one tensor in both engines; memory does not grow with what is added."""

    def __init__(self, *, is_logits: bool) -> None:
        self.is_logits = is_logits
        self.num_values = 0
        self.num_positions = 0
        self._peak = self._square_error = self._absolute_error = 0.0
        self._dot = self._reference_square = self._candidate_square = 0.0
        self._kl = 0.0
        self._num_equal = self._num_wide = self._num_wide_equal = 0

    def add(self, reference: Any, candidate: Any) -> None:
        """Compare arrays or tensors of one shape; of logits the last axis is the vocabulary."""
        reference, candidate = _tensor(reference), _tensor(candidate)
        if reference.shape != candidate.shape:
            raise ValueError(f"The candidate has shape {tuple(candidate.shape)}, expected {tuple(reference.shape)} as the reference.")
        width = reference.shape[-1]
        reference_NV, candidate_NV = reference.reshape(-1, width), candidate.reshape(-1, width)
        num_rows = max(1, _CHUNK_VALUES // width)
        for start in range(0, reference_NV.shape[0], num_rows):
            rows = slice(start, start + num_rows)
            self._add_rows(reference_NV[rows].double(), candidate_NV[rows].double())

    def values(self) -> dict[str, float]:
        """The measures by name; NaN where one is not defined."""
        mean_square = self._square_error / max(self.num_values, 1)
        norms = math.sqrt(self._reference_square) * math.sqrt(self._candidate_square)
        found = {
            "psnr_db": _psnr_db(self._peak, mean_square),
            "cos": self._dot / norms if norms else math.nan,
            "rel": self._absolute_error / max(self.num_values, 1) / max(self._peak, 1e-6),
        }
        if self.is_logits:
            found |= {
                "kl_nats": self._kl / max(self.num_positions, 1),
                "argmax": self._num_equal / max(self.num_positions, 1),
                "argmax_wide": self._num_wide_equal / self._num_wide if self._num_wide else math.nan,
            }
        return found

    @property
    def num_wide(self) -> int:
        """Positions whose best logit leads by a wide margin."""
        return self._num_wide

    def _add_rows(self, reference_NV: Tensor, candidate_NV: Tensor) -> None:
        error_NV = candidate_NV - reference_NV
        self._square_error += float(error_NV.square().sum())
        self._absolute_error += float(error_NV.abs().sum())
        self._peak = max(self._peak, float(reference_NV.abs().max()))
        self._dot += float((reference_NV * candidate_NV).sum())
        self._reference_square += float(reference_NV.square().sum())
        self._candidate_square += float(candidate_NV.square().sum())
        self.num_values += reference_NV.numel()
        self.num_positions += reference_NV.shape[0]
        if self.is_logits:
            self._add_distributions(reference_NV, candidate_NV)

    def _add_distributions(self, reference_NV: Tensor, candidate_NV: Tensor) -> None:
        reference_logprobs_NV = torch.log_softmax(reference_NV, dim=-1)
        candidate_logprobs_NV = torch.log_softmax(candidate_NV, dim=-1)
        self._kl += float((reference_logprobs_NV.exp() * (reference_logprobs_NV - candidate_logprobs_NV)).sum())
        best = reference_NV.topk(2, dim=-1)
        is_wide_N = best.values[:, 0] - best.values[:, 1] >= _WIDE_MARGIN_LOGITS
        is_equal_N = candidate_NV.argmax(dim=-1) == best.indices[:, 0]
        self._num_equal += int(is_equal_N.sum())
        self._num_wide += int(is_wide_N.sum())
        self._num_wide_equal += int((is_equal_N & is_wide_N).sum())


class Pair:
    """One reference and one candidate over many sequences; `logits` is held to every limit, other tensors to two."""

    def __init__(self, row: RowName) -> None:
        self.row: RowName = row
        self.num_sequences = 0
        self.num_positions = 0
        self._tensors: dict[str, TensorPair] = {}
        self._findings: list[str] = []

    def add(
        self, reference: Mapping[str, Any], candidate: Mapping[str, Any], *, num_positions: int | None = None, is_new_sequence: bool = True
    ) -> None:
        """Compare the outputs for one sequence, or for a further part of the last one; logits end in the vocabulary.

        `num_positions` says how many token positions the outputs speak of, without it their logits are counted: a prefill
        gives the keys and values of all its positions and the logits of the last.
        """
        self.num_sequences += is_new_sequence
        self.num_positions += _num_rows(reference["logits"]) if num_positions is None else num_positions
        for name, expected in reference.items():
            if name not in candidate:
                self._findings.append(f"the candidate gives no {name}")
            elif tuple(expected.shape) != tuple(candidate[name].shape):
                self._findings.append(f"{name} has shape {tuple(candidate[name].shape)}, expected {tuple(expected.shape)}")
            else:
                self._tensors.setdefault(name, TensorPair(is_logits=name == "logits")).add(expected, candidate[name])

    def report(self, slice_: str, *, suite: str = "parity", subject: str = "") -> PairReport:
        """Status by the limits of the pair's row, why, and every measure as a Measurement of `suite` and `slice_`."""
        gaps = [*dict.fromkeys(self._findings), *self._too_few()]
        misses: list[str] = []
        measurements: list[Measurement] = []
        for name, pair in sorted(self._tensors.items()):
            values = pair.values()
            gaps += [f"{name} {metric} is not defined" for metric, value in values.items() if _is_gap(metric, value)]
            misses += _misses(name, values, LIMITS[self.row])
            measurements += [_measurement(name, metric, value, pair, suite, slice_, subject) for metric, value in values.items()]
        status: ParityStatus = "inconclusive" if gaps else "fail" if misses else "pass"
        passed = Measurement(
            metric="passed",
            suite=suite,
            slice=slice_,
            value=None if gaps else float(not misses),
            n=self.num_positions,
            method=f"limits of row {self.row}",
            reason="; ".join(gaps),
            subject=subject,
        )
        return PairReport(slice=slice_, row=self.row, status=status, findings=(*gaps, *misses), measurements=(passed, *measurements))

    def _too_few(self) -> list[str]:
        found = []
        if self.num_sequences < MIN_SEQUENCES:
            found.append(f"{self.num_sequences} sequences were compared, expected at least {MIN_SEQUENCES}")
        if self.num_positions < MIN_POSITIONS:
            found.append(f"{self.num_positions} positions were compared, expected at least {MIN_POSITIONS}")
        return found


def compare(
    reference: Iterable[Mapping[str, Any]], candidate: Iterable[Mapping[str, Any]], row: RowName, *, slice: str = "all", subject: str = ""
) -> PairReport:
    """The report on two engines' outputs, one mapping a sequence, in the same order."""
    pair = Pair(row)
    for expected, found in zip(reference, candidate, strict=True):
        pair.add(expected, found)
    return pair.report(slice, subject=subject)


def _num_rows(logits: Any) -> int:
    return math.prod(logits.shape[:-1])


def _tensor(values: Any) -> Tensor:
    return values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))


def _psnr_db(peak: float, mean_square_error: float) -> float:
    if peak == 0 or not math.isfinite(mean_square_error):
        return math.nan
    if mean_square_error == 0:
        return EQUAL_PSNR_DB
    return 10 * math.log10(peak**2 / mean_square_error)


def _is_gap(metric: str, value: float) -> bool:
    """Whether an undefined value leaves a gap; a model that is sure of nothing has no wide margins to compare."""
    return not math.isfinite(value) and metric not in ("argmax", "argmax_wide")


def _misses(name: str, values: Mapping[str, float], limits: ParityLimits) -> list[str]:
    bars: Sequence[tuple[str, float, bool]] = [("psnr_db", limits.psnr_db, True), ("cos", limits.cos, True)]
    if name == "logits":
        bars = [*bars, ("kl_nats", limits.kl_nats, False), ("argmax_wide", limits.argmax_wide, True), ("rel", limits.rel, False)]
    found = []
    for metric, bar, is_floor in bars:
        value = values[metric]
        if (value < bar) if is_floor else (value > bar):
            found.append(f"{name} {metric} is {value:.6g}, expected {'at least' if is_floor else 'at most'} {bar:g}")
    return found


def _measurement(name: str, metric: str, value: float, pair: TensorPair, suite: str, slice_: str, subject: str) -> Measurement:
    is_finite = math.isfinite(value)
    return Measurement(
        metric=metric if name == "logits" else f"{name}_{metric}",
        suite=suite,
        slice=slice_,
        value=value if is_finite else None,
        n=pair.num_wide if metric == "argmax_wide" else pair.num_positions,
        unit={"psnr_db": "dB", "kl_nats": "nats"}.get(metric, ""),
        reason="" if is_finite else "the measure is not defined on these values",
        subject=subject,
    )
