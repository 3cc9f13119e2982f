"""Measures of parity are the formulas they claim to be, and too little evidence never passes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kd.evidence import measurements_to_json
from kd.models.parity import EQUAL_PSNR_DB, LIMITS, Pair, PairReport, TensorPair, compare

Outputs = dict[str, NDArray[np.float64]]


def _logits(seed: int, shape: tuple[int, ...] = (64, 11)) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape) * 3


def _sequences(noise: float = 0.0, *, count: int = 8, positions: int = 64) -> list[Outputs]:
    draws = np.random.default_rng(99)
    made = []
    for seed in range(count):
        logits, keys = _logits(seed, (positions, 11)), _logits(1000 + seed, (1, 4, positions, 6))
        made.append({"logits": logits + noise * draws.normal(size=logits.shape), "new_k": keys + noise * draws.normal(size=keys.shape)})
    return made


def _value(report: PairReport, metric: str) -> float | None:
    return next(measurement.value for measurement in report.measurements if measurement.metric == metric)


def test_measures_equal_their_formulas_in_float64() -> None:
    """Every measure is what its formula gives, computed plainly."""
    reference, candidate = _logits(1), _logits(1) + 0.05 * _logits(2)
    pair = TensorPair(is_logits=True)
    pair.add(reference, candidate)
    error = candidate - reference
    p = np.exp(reference) / np.exp(reference).sum(-1, keepdims=True)
    q = np.exp(candidate) / np.exp(candidate).sum(-1, keepdims=True)
    ordered = np.sort(reference, axis=-1)
    is_wide = ordered[:, -1] - ordered[:, -2] >= 1.0
    is_equal = reference.argmax(-1) == candidate.argmax(-1)
    expected = {
        "psnr_db": 10 * np.log10(np.abs(reference).max() ** 2 / (error**2).mean()),
        "cos": (reference * candidate).sum() / np.linalg.norm(reference) / np.linalg.norm(candidate),
        "rel": np.abs(error).mean() / np.abs(reference).max(),
        "kl_nats": (p * np.log(p / q)).sum(-1).mean(),
        "argmax": is_equal.mean(),
        "argmax_wide": is_equal[is_wide].mean(),
    }
    assert pair.values() == pytest.approx(expected, rel=1e-9)


def test_measures_do_not_depend_on_how_the_values_are_cut() -> None:
    """Adding a tensor in parts gives what adding it whole gives."""
    reference, candidate = _logits(1), _logits(1) + 0.01 * _logits(2)
    whole, parts = TensorPair(is_logits=True), TensorPair(is_logits=True)
    whole.add(reference, candidate)
    for start in range(0, 64, 5):
        parts.add(torch.from_numpy(reference[start : start + 5]), candidate[start : start + 5])
    assert parts.values() == pytest.approx(whole.values(), rel=1e-12)


def test_equal_outputs_pass_with_the_psnr_of_equality() -> None:
    """Equal tensors have no finite ratio of signal to noise and are reported by the agreed number."""
    report = compare(_sequences(), _sequences(), "fp32")
    assert report.status == "pass"
    assert _value(report, "psnr_db") == _value(report, "new_k_psnr_db") == EQUAL_PSNR_DB
    assert _value(report, "passed") == 1.0


@pytest.mark.parametrize(("noise", "passed"), [(1e-6, ("fp32", "fp16", "int8")), (1e-3, ("fp16", "int8")), (3e-2, ("int8",)), (1.0, ())])
def test_rows_accept_ever_larger_errors(noise: float, passed: tuple[str, ...]) -> None:
    """An error passes exactly the rows whose limits it keeps."""
    assert tuple(row for row in LIMITS if compare(_sequences(), _sequences(noise), row).status == "pass") == passed


def test_a_miss_names_measure_value_and_limit() -> None:
    """What fails says by how much."""
    report = compare(_sequences(), _sequences(1.0), "fp32")
    assert report.status == "fail"
    assert any(finding.startswith("logits psnr_db is ") and finding.endswith("expected at least 100") for finding in report.findings)


@pytest.mark.parametrize(("count", "positions", "what"), [(7, 128, "7 sequences"), (8, 63, "504 positions"), (0, 64, "0 sequences")])
def test_too_little_evidence_is_inconclusive(count: int, positions: int, what: str) -> None:
    """Fewer than 8 sequences or 512 positions never pass, however well they agree."""
    sequences = _sequences(count=count, positions=positions)
    report = compare(sequences, sequences, "fp32")
    assert report.status == "inconclusive"
    assert any(finding.startswith(what) for finding in report.findings)
    assert _value(report, "passed") is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_inconclusive(bad: float) -> None:
    """One NaN or infinity in the candidate leaves nothing proved, and the evidence is still valid JSON."""
    broken = _sequences()
    broken[3]["logits"][5, 2] = bad
    report = compare(_sequences(), broken, "fp32")
    assert report.status == "inconclusive"
    assert json.loads(measurements_to_json(report.measurements))


def test_a_missing_or_misshapen_output_is_inconclusive() -> None:
    """An output that the candidate does not give, or gives in another shape, is no agreement."""
    missing = [{"logits": outputs["logits"]} for outputs in _sequences()]
    misshapen = [{**outputs, "new_k": outputs["new_k"][:, :2]} for outputs in _sequences()]
    assert compare(_sequences(), missing, "fp32").findings[0] == "the candidate gives no new_k"
    assert compare(_sequences(), misshapen, "fp32").status == "inconclusive"


def test_a_reference_of_zeros_is_inconclusive() -> None:
    """Against nothing, everything agrees: that proves nothing."""
    zeros = [{**outputs, "new_k": outputs["new_k"] * 0} for outputs in _sequences()]
    assert compare(zeros, zeros, "fp32").status == "inconclusive"


def test_close_calls_are_left_out_of_argmax_wide() -> None:
    """A reference without a wide margin anywhere has no argmax_wide, and is held to the other limits alone."""
    flat = [{"logits": outputs["logits"] * 1e-3} for outputs in _sequences()]
    report = compare(flat, flat, "fp32")
    assert report.status == "pass"
    assert _value(report, "argmax_wide") is None
    assert _value(report, "argmax") == 1.0


def test_positions_can_be_counted_by_the_caller() -> None:
    """A prefill speaks of all its positions though it gives the logits of the last alone."""
    pair = Pair("fp32")
    for outputs in _sequences():
        pair.add({**outputs, "logits": outputs["logits"][-1:]}, {**outputs, "logits": outputs["logits"][-1:]}, num_positions=64)
    assert pair.report("prefill_64").status == "pass"
