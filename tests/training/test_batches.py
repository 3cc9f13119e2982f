"""Rows, plans and micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd.models.logit_store import SignalStore
from kd.training.batches import Row, make_batch, micro_batches, plan_steps, read_rows
from tests.training.toy import toy_sample, toy_samples, toy_teacher, toy_tokenizer, write_toy_dataset, write_toy_signal

_LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SignalStore:
    folder = tmp_path_factory.mktemp("signal")
    manifest = write_toy_dataset(folder / "dataset", toy_samples(), toy_tokenizer())
    write_toy_signal(folder, toy_samples(), toy_tokenizer(), toy_teacher(), manifest)
    return SignalStore.open(folder, "train")


@pytest.fixture(scope="module")
def rows(store: SignalStore) -> tuple[Row, ...]:
    train = [sample for sample in toy_samples() if sample.split == "train"]
    found, dropped = read_rows(train, toy_tokenizer(), store, length=128)
    assert not dropped
    return found


def test_targets_are_the_answer_and_its_end_alone(rows: tuple[Row, ...]) -> None:
    """No prompt token is a target; every answer token is, and the end of the answer last."""
    tokenizer = toy_tokenizer()
    for row, index in zip(rows, range(12)):
        answer = row.ids[row.targets].tolist()
        assert answer[-1] == tokenizer.eos_id
        assert tokenizer.decode(answer[:-1]) == toy_sample(index, "train").target
        assert row.targets[-1] == len(row.ids) - 1


def test_a_target_is_predicted_from_the_token_before_it(rows: tuple[Row, ...]) -> None:
    """The hidden state's place is one before the target's, in the row of the target."""
    batch = make_batch(rows, micro_batch_tokens=200)
    for part in batch.parts:
        num_tokens = part.ids_BT.shape[1]
        followers = part.ids_BT.flatten()[part.place_N + 1]
        assert torch.equal(followers, part.target_N)
        assert int((part.place_N % num_tokens).max()) < num_tokens - 1


def test_every_target_has_the_distribution_of_its_own_place(rows: tuple[Row, ...], store: SignalStore) -> None:
    """Signals follow their targets through sorting and padding."""
    by_target = {}
    for part in make_batch(rows, micro_batch_tokens=150).parts:
        width = part.ids_BT.shape[1]
        for place, ids in zip(part.place_N.tolist(), part.signal.ids_NJ.tolist()):
            by_target[tuple(part.ids_BT[place // width].tolist()), place % width] = ids[:4]
    for row in rows:
        stored = store.row(row.sample_id).head_ids_NK.tolist()
        matches = [key for key in by_target if key[0][: len(row.ids)] == tuple(row.ids.tolist())]
        assert [by_target[key] for key in sorted(matches, key=lambda key: key[1])] == stored


def test_terms_follow_the_source_of_a_row(rows: tuple[Row, ...]) -> None:
    """What the teacher wrote counts for ce_teacher, what is known for ce_truth, and never for both."""
    counts = make_batch(rows, 200).num_term_tokens
    assert counts["ce_teacher"] + counts["ce_truth"] == sum(len(row.targets) for row in rows) == counts["kd"]
    assert rows[0].num_tokens("ce_teacher") > 0 == rows[0].num_tokens("ce_truth")
    assert rows[1].num_tokens("ce_truth") > 0 == rows[1].num_tokens("ce_teacher")


def test_a_forced_token_has_nothing_to_imitate(tmp_path: Path) -> None:
    """Where the grammar allowed one token alone, cross-entropy counts and the teacher's distribution does not."""
    tokenizer, sample = toy_tokenizer(), toy_sample(0, "train")
    manifest = write_toy_dataset(tmp_path / "dataset", [sample], tokenizer)
    write_toy_signal(tmp_path, [sample], tokenizer, toy_teacher(), manifest, forced={1})
    (row,), _ = read_rows([sample], tokenizer, SignalStore.open(tmp_path, "train"), length=128)
    assert (row.num_tokens("kd"), row.num_tokens("ce_teacher")) == (len(row.targets) - 1, len(row.targets))
    (part,) = make_batch([row], 200).parts
    assert part.masks["kd"].tolist() == [1.0, 0.0, *[1.0] * (len(row.targets) - 2)]


def test_long_rows_are_left_out_and_counted(store: SignalStore) -> None:
    """No answer is cut: a row that does not fit is dropped with its reason."""
    train = [sample for sample in toy_samples() if sample.split == "train"]
    found, dropped = read_rows(train, toy_tokenizer(), store, length=55)
    assert dropped == {"too_long": 12 - len(found)}
    assert 0 < len(found) < 12
    assert all(len(row.ids) <= 55 for row in found)


@given(_LENGTHS, st.integers(1, 200), st.integers(0, 99))
def test_steps_take_consecutive_rows_up_to_their_budget(lengths: list[int], batch_tokens: int, seed: int) -> None:
    """Each step takes as many rows as fit, at least one, and the next one would not have fitted."""
    plan = plan_steps(lengths, num_steps=5, batch_tokens=batch_tokens, seed=seed)
    for step in range(1, 6):
        sizes = [lengths[row] for row in plan.rows_of(step)]
        assert len(sizes) == 1 or sum(sizes) <= batch_tokens
        if step < 5:
            assert sum(sizes) + lengths[plan.rows_of(step + 1)[0]] > batch_tokens


@given(_LENGTHS, st.integers(1, 200))
def test_micro_batches_hold_every_row_once_within_their_budget(lengths: list[int], budget: int) -> None:
    """The cut loses no row, and only a single row may exceed the budget."""
    cuts = micro_batches(lengths, budget)
    assert sorted(index for cut in cuts for index in cut) == list(range(len(lengths)))
    assert all(len(cut) == 1 or len(cut) * max(lengths[index] for index in cut) <= budget for cut in cuts)


def test_the_digest_of_a_batch_is_of_its_content(rows: tuple[Row, ...]) -> None:
    """Another cut is the same batch; another row, or order, is another."""
    assert make_batch(rows, 100).digest == make_batch(rows, 1000).digest
    assert make_batch(rows[1:], 100).digest != make_batch(rows, 100).digest
    assert make_batch(rows[::-1], 100).digest != make_batch(rows, 100).digest


def test_a_plan_is_a_function_of_its_arguments() -> None:
    """Equal arguments give equal plans, other seeds other rows."""
    lengths = list(range(5, 45))
    first, again, other = (plan_steps(lengths, num_steps=4, batch_tokens=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.rows_of(1) != other.rows_of(1)
