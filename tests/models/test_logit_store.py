"""The store of teacher distributions: unbiased, compact, the same bytes every time, and found out when it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kd.errors import UsageError
from kd.models.hybrid_codec import decode_probs, encode_probs, uniforms
from kd.models.hybrid_columns import HybridColumns, columns_from_bytes, columns_to_bytes
from kd.models.logit_store import SignalHeader, SignalRow, SignalStore, write_signal

V = 300
HEADER = SignalHeader(k=12, s=8, vocab_size=V, teacher="t", tokenizer="k", chat_template="c", dataset="d", seed=1)


def logits(num_rows: int, *, seed: int = 0, spread: float = 2.0, vocab_size: int = V) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.0, spread, (num_rows, vocab_size))


def encoded(logits_NV: NDArray[np.float64], *, record_id: str = "r-1", k: int = 12, s: int = 8) -> HybridColumns:
    places = range(1, len(logits_NV) + 1)
    return HybridColumns.encode(logits_NV, chosen_ids=[0] * len(logits_NV), record_id=record_id, places=places, k=k, s=s, seed=1)


def estimate(columns: HybridColumns, vocab_size: int = V) -> NDArray[np.float64]:
    """The distributions that the columns stand for, `[N, V]`."""
    rows = columns.decode()
    found = np.zeros((len(columns), vocab_size))
    numbers = np.arange(len(columns))[:, None]
    np.add.at(found, (numbers, rows.head_ids_NK), rows.head_probs_NK.astype(np.float64))
    np.add.at(found, (numbers, rows.tail_ids_NS), rows.tail_mass_N[:, None].astype(np.float64) / rows.tail_ids_NS.shape[1])
    return found


def softmax(row: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(row - row.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
def test_what_is_decoded_is_unbiased(spread: float) -> None:
    """Over many draws the mean of each bounded functional of p̂ is that of p within four standard errors, τ in float16 apart."""
    row = logits(1, spread=spread)[0]
    columns = encoded(np.tile(row, (6000, 1)))
    found = estimate(columns)
    rng = np.random.default_rng(5)
    functionals = np.concatenate([rng.uniform(0.0, 1.0, (20, V)), np.ones((1, V))])
    drawn = found @ functionals.T
    errors = np.abs(drawn.mean(axis=0) - functionals @ softmax(row))
    rounding_of_tail = 4.9e-4 * float(columns.tail_mass[0]) * functionals.mean(axis=1)
    scores = np.maximum(errors - rounding_of_tail, 0.0) / (drawn.std(axis=0) / np.sqrt(len(drawn)))
    assert scores.max() <= 4.0


@given(st.floats(min_value=0.0, max_value=1.0), st.floats(min_value=0.0, max_value=1.0, exclude_max=True))
def test_a_code_is_a_neighbour_of_its_probability(prob: float, uniform: float) -> None:
    """The decoded value is one of the two steps of the ladder around p, 1/16 in the logarithm apart."""
    code = encode_probs(np.array([prob]), np.array([uniform]))
    value = float(decode_probs(code)[0])
    if value > 0.0:
        assert prob * np.exp(-1 / 16) * (1 - 1e-6) <= value <= max(prob * np.exp(1 / 16), np.exp(-254 / 16)) * (1 + 1e-6)
    else:
        assert prob <= np.exp(-254 / 16)


def test_rounding_is_unbiased_in_expectation() -> None:
    """The upper neighbour's chance makes the mean exactly p: checked by integrating over the uniform number."""
    probs = np.array([0.9, 0.5, 0.037, 1e-5, 3e-8])
    grid = (np.arange(20_000) + 0.5) / 20_000
    means = [decode_probs(encode_probs(np.full(len(grid), prob), grid)).astype(np.float64).mean() for prob in probs]
    assert np.allclose(means, probs, rtol=2e-3, atol=2e-11)


def test_random_numbers_depend_on_seed_record_and_place_alone() -> None:
    """A subset of the positions draws the same numbers, and no two positions the same."""
    whole = uniforms(1, "r-1", range(10), 20)
    assert np.array_equal(whole[3:5], uniforms(1, "r-1", (3, 4), 20))
    assert len(np.unique(whole)) == whole.size
    assert not np.array_equal(whole, uniforms(2, "r-1", range(10), 20))
    assert not np.array_equal(whole, uniforms(1, "r-2", range(10), 20))


def test_the_head_holds_the_most_probable_ids() -> None:
    """Head ids are the K largest, falling; entropy and the chosen token's log-probability are those of the whole distribution."""
    logits_NV = logits(5)
    columns = encoded(logits_NV)
    rows = columns.decode()
    for row, probs in enumerate(map(softmax, logits_NV)):
        assert rows.head_ids_NK[row].tolist() == np.argsort(-probs)[:12].tolist()
        assert rows.entropy_N[row] == pytest.approx(-(probs * np.log(probs)).sum(), rel=1e-3)
        assert rows.chosen_logprob_N[row] == pytest.approx(np.log(probs[0]), rel=1e-3)
        assert rows.tail_mass_N[row] == pytest.approx(1 - np.sort(probs)[-12:].sum(), rel=1e-3)
        assert not set(rows.tail_ids_NS[row]) & set(rows.head_ids_NK[row])


def test_what_a_grammar_forbids_gets_no_mass() -> None:
    """Masked logits are renormalised, and a position with one allowed token is flagged as forced."""
    masked_NV = np.full((2, V), -np.inf)
    masked_NV[0, [3, 7]] = [0.0, np.log(3.0)]
    masked_NV[1, 9] = -2.0
    found = estimate(encoded(masked_NV))
    assert found[0, 7] == pytest.approx(0.75, rel=0.07)
    assert found[0].sum() == pytest.approx(found[0, [3, 7]].sum())
    assert found[1, 9] == pytest.approx(1.0)
    assert encoded(masked_NV).decode().is_forced_N.tolist() == [False, True]


def test_a_token_costs_58_bytes() -> None:
    """At K 12 and S 8 a token takes 58 bytes of columns."""
    assert encoded(logits(2)).bytes_per_token == 58


def test_a_vocabulary_above_65536_is_refused() -> None:
    """Ids are 16 bits wide; a larger vocabulary is refused with its size."""
    with pytest.raises(UsageError, match="70000 entries"):
        SignalHeader(k=12, s=8, vocab_size=70_000, teacher="t", tokenizer="k", chat_template="c", dataset="d", seed=1)


def test_scores_survive_the_wire() -> None:
    """Columns of several records come back from their bytes, record by record."""
    parts = [encoded(logits(3, seed=1)), encoded(logits(1, seed=2), record_id="ü")]
    found = columns_from_bytes(columns_to_bytes(["r-1", "ü"], parts, k=12, s=8))
    assert [record_id for record_id, _ in found] == ["r-1", "ü"]
    for (_, columns), part in zip(found, parts, strict=True):
        assert np.array_equal(estimate(columns), estimate(part))


def written(folder: Path) -> tuple[SignalRow, ...]:
    rows = tuple(
        SignalRow(sample_id=f"r-{n}", ids=tuple(range(n, n + 9)), columns=encoded(logits(n + 1, seed=n), record_id=f"r-{n}"))
        for n in range(4)
    )
    summary = write_signal(folder, "train", rows, HEADER)
    assert (summary.num_rows, summary.num_tokens, summary.bytes_per_token) == (4, 10, 58)
    return rows


def test_a_written_split_is_read_back(tmp_path: Path) -> None:
    """Every sample's rows come back, from a file of about 58 bytes a token, the same bytes every time."""
    rows = written(tmp_path)
    data = (tmp_path / "train.safetensors").read_bytes()
    written(tmp_path)
    assert (tmp_path / "train.safetensors").read_bytes() == data
    store = SignalStore.open(tmp_path, "train")
    assert (store.header, store.num_tokens, store.sample_ids) == (HEADER, 10, tuple(row.sample_id for row in rows))
    for row in rows:
        found = store.row(row.sample_id, row.ids)
        assert np.array_equal(found.head_probs_NK, row.columns.decode().head_probs_NK)
        assert np.array_equal(found.tail_ids_NS, row.columns.decode().tail_ids_NS)


def test_a_split_without_samples_is_a_split(tmp_path: Path) -> None:
    """An empty split is written and read like any other."""
    assert write_signal(tmp_path, "val", (), HEADER).mean_tail_mass is None
    assert SignalStore.open(tmp_path, "val").num_tokens == 0


def test_other_tokens_are_found_out(tmp_path: Path) -> None:
    """A sample that another tokenizer cut into other tokens is refused."""
    rows = written(tmp_path)
    with pytest.raises(UsageError, match="other tokens than the teacher scored"):
        SignalStore.open(tmp_path, "train").row(rows[0].sample_id, (1, 2, 3))


def test_a_torn_split_is_refused(tmp_path: Path) -> None:
    """A file that was cut short is named, not half read."""
    written(tmp_path)
    path = tmp_path / "train.safetensors"
    for size in (4, 100, len(path.read_bytes()) - 1):
        path.write_bytes(path.read_bytes()[:size] if size > 4 else b"")
        with pytest.raises(UsageError, match="cannot be read as teacher distributions"):
            SignalStore.open(tmp_path, "train")
        written(tmp_path)


def test_a_split_of_another_signal_is_refused(tmp_path: Path) -> None:
    """The header inside the columns must be the one beside them."""
    written(tmp_path)
    header = json.loads((tmp_path / "signal.json").read_text())
    (tmp_path / "signal.json").write_text(json.dumps({**header, "teacher": "another"}))
    with pytest.raises(UsageError, match="does not belong to"):
        SignalStore.open(tmp_path, "train")
