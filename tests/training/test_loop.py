"""One optimiser step against plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attrs import evolve as replace
from torch import Tensor

from kd.errors import StageError
from kd.models.logit_store import SignalStore
from kd.models.student import Student, random_student
from kd.training.arithmetic import bits_of
from kd.training.batches import TERMS, MicroBatch, Row, StepBatch, make_batch, read_rows
from kd.training.config import LossConfig, OptimizerConfig, TermConfig, TrainingConfig
from kd.training.events import StepCompleted, StepSkipped
from kd.training.loop import Trainer, dead_terms
from kd.training.optimizer import make_optimizer
from tests.training.toy import CONFIG, TEACHER, toy_samples, toy_teacher, toy_tokenizer, write_toy_dataset, write_toy_signal

WITHOUT_KD = replace(CONFIG, loss=LossConfig(kd=TermConfig(weight=0.0), ce_truth=TermConfig(weight=0.7)))

_NUM_PLAIN = 5


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Row, ...]:
    folder: Path = tmp_path_factory.mktemp("signal")
    manifest = write_toy_dataset(folder / "dataset", toy_samples(), toy_tokenizer())
    write_toy_signal(folder, toy_samples(), toy_tokenizer(), toy_teacher(), manifest)
    train = [sample for sample in toy_samples() if sample.split == "train"]
    return read_rows(train, toy_tokenizer(), SignalStore.open(folder, "train"), length=128)[0]


def _trainer(config: TrainingConfig = CONFIG, seed: int = 2) -> Trainer:
    weights = config.loss.weights(dict.fromkeys(TERMS, 1))
    return Trainer(random_student(TEACHER, seed), config, weights)


def _run(trainer: Trainer, batch: StepBatch) -> StepCompleted:
    result = trainer.run(batch)
    assert isinstance(result, StepCompleted)
    return result


def _plain_terms(student: Student) -> dict[str, Tensor]:
    """Means of all terms over the first training samples, read from their texts, one token at a time, in float64."""
    tokenizer, teacher = toy_tokenizer(), toy_teacher()
    tokens: dict[str, list[Tensor]] = {"kd": [], "ce_teacher": [], "ce_truth": []}
    for sample in toy_samples()[:_NUM_PLAIN]:
        ids = tokenizer.encode_chat(sample.chat, add_generation_prompt=True)
        for answer in [*tokenizer.encode(sample.target), tokenizer.eos_id]:
            before_BT = torch.tensor([ids])
            log_q_V = torch.log_softmax(student.logits(student(before_BT).hidden_BTH)[0, -1].double(), dim=0)
            log_p_V = torch.log_softmax(teacher.logits(teacher(before_BT).hidden_BTH)[0, -1].double(), dim=0)
            tokens["ce_teacher" if sample.source.origin == "teacher" else "ce_truth"].append(-log_q_V[answer])
            tokens["kd"].append((log_p_V.exp() * (log_p_V - log_q_V)).sum())
            ids.append(answer)
    return {term: torch.stack(values).mean() for term, values in tokens.items()}


def test_terms_are_those_of_a_plain_loop_over_tokens(rows: tuple[Row, ...]) -> None:
    """Shift, prompt mask, end of answer, one mean per term: all as if each token were predicted from the text before it.

    The stored teacher distribution is a draw that is right on average, so its term is compared loosely.
    """
    trainer = _trainer()
    with torch.inference_mode():
        expected = {term: float(mean) for term, mean in _plain_terms(trainer.student).items()}
    step = _run(trainer, make_batch(rows[:_NUM_PLAIN], 150))
    found = {part.name: part.value_nats for part in step.parts}
    assert found["ce_teacher"] == pytest.approx(expected["ce_teacher"], rel=1e-5)
    assert found["ce_truth"] == pytest.approx(expected["ce_truth"], rel=1e-5)
    assert found["kd"] == pytest.approx(expected["kd"], rel=0.25)
    assert step.loss_nats == pytest.approx(sum(part.weight * part.value_nats for part in step.parts), rel=1e-5)


def test_the_gradient_is_that_of_the_plain_loop(rows: tuple[Row, ...]) -> None:
    """The norm of the whole gradient, unclipped, equals that of the sum of means."""
    trainer = _trainer(replace(WITHOUT_KD, clip_norm=1e-3))
    terms = _plain_terms(trainer.student)
    loss = 0.2 * terms["ce_teacher"] + 0.7 * terms["ce_truth"]
    gradients = torch.autograd.grad(loss, tuple(trainer.student.parameters()))
    expected = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    assert _run(trainer, make_batch(rows[:_NUM_PLAIN], 150)).grad_norm == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("budget", [60, 150, 400, 10_000])
def test_micro_batches_change_nothing(rows: tuple[Row, ...], budget: int) -> None:
    """One pass over all rows and many over few give the same loss, gradient and weights: no mean of means."""
    whole, cut = _trainer(), _trainer()
    expected, found = _run(whole, make_batch(rows, 10_000)), _run(cut, make_batch(rows, budget))
    assert found.loss_nats == pytest.approx(expected.loss_nats, rel=1e-5)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    for a, b in zip(whole.student.parameters(), cut.student.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_step_starts_without_the_gradient_of_the_last(rows: tuple[Row, ...]) -> None:
    """The second step's gradient is that of a trainer that begins with the same weights."""
    first = _trainer()
    _run(first, make_batch(rows[:6], 150))
    second = _trainer(seed=0)
    second.student.load_state_dict(first.student.state_dict())
    assert all(parameter.grad is None for parameter in first.student.parameters())
    found, expected = (_run(trainer, make_batch(rows[6:], 150)) for trainer in (first, second))
    assert found.grad_norm_bits == expected.grad_norm_bits
    assert found.loss_bits == expected.loss_bits


def test_equal_steps_give_equal_bits(rows: tuple[Row, ...]) -> None:
    """Two trainers from one seed agree bit for bit after some steps."""
    trainers = _trainer(), _trainer()
    results = [[_run(trainer, make_batch(rows[start:], 150)).grad_norm_bits for start in range(4)] for trainer in trainers]
    assert results[0] == results[1]
    assert all(torch.equal(a, b) for a, b in zip(trainers[0].student.parameters(), trainers[1].student.parameters(), strict=True))


def test_a_step_that_is_not_finite_changes_no_weight(rows: tuple[Row, ...]) -> None:
    """Weights and moments stay, the step counts, and the next one begins without its gradient."""
    trainer = _trainer()
    _run(trainer, make_batch(rows, 150))
    norm = trainer.student.model.norm.weight
    kept = norm.detach().clone()
    with torch.no_grad():
        norm[0] = torch.inf
    before = {name: tensor.clone() for name, tensor in trainer.student.state_dict().items()}
    result = trainer.run(make_batch(rows, 150))
    assert isinstance(result, StepSkipped)
    assert (result.step, trainer.step) == (2, 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.student.state_dict().items())
    with torch.no_grad():
        norm.copy_(kept)
    assert _run(trainer, make_batch(rows, 150)).step == 3


def test_the_gradient_is_clipped_and_its_norm_recorded_before(rows: tuple[Row, ...]) -> None:
    """The first moment is a tenth of the clipped gradient; the recorded norm is the whole one."""
    clipped, free = (_trainer(replace(CONFIG, clip_norm=norm)) for norm in (1e-3, 1e3))
    results = [_run(trainer, make_batch(rows, 150)) for trainer in (clipped, free)]
    assert results[0].grad_norm == results[1].grad_norm > 1e-3
    assert bits_of(results[0].grad_norm) == results[0].grad_norm_bits
    for trainer, norm in ((clipped, 1e-3), (free, results[1].grad_norm)):
        moments = [state["exp_avg"].flatten() for state in trainer.optimizer.state.values()]
        assert float(torch.cat(moments).norm()) == pytest.approx(0.1 * norm, rel=1e-3)


def test_decay_is_on_matrices_alone() -> None:
    """Norms and embeddings, the tied head with them, are not decayed."""
    student = random_student(TEACHER, seed=0)
    optimizer = make_optimizer(student, OptimizerConfig())
    decayed = {id(parameter) for group in optimizer.param_groups if group["weight_decay"] for parameter in group["params"]}
    names = {name for name, parameter in student.named_parameters() if id(parameter) in decayed}
    assert len(names) == TEACHER.num_layers * 7
    assert all(name.endswith("_proj.weight") for name in names)


def test_a_step_without_tokens_for_a_term_counts_none(rows: tuple[Row, ...]) -> None:
    """A term that no token of the step counts for is 0 with n = 0, never NaN."""
    step = _run(_trainer(), make_batch([row for row in rows if row.is_teachers], 150))
    part = next(part for part in step.parts if part.name == "ce_truth")
    assert (part.value_nats, part.num_tokens) == (0.0, 0)


def _spoilt(part: MicroBatch) -> MicroBatch:
    """A teacher that says nothing but has an entropy: its term has a value and teaches nothing."""
    return replace(part, signal=replace(part.signal, probs_NJ=torch.zeros_like(part.signal.probs_NJ)))


def test_a_term_that_moves_nothing_is_found(rows: tuple[Row, ...]) -> None:
    """A term with a value but no gradient stops the training at its first step, by name."""
    trainer, batch = _trainer(), make_batch(rows, 10_000)
    hidden_NH = torch.randn(len(batch.parts[0].target_N), TEACHER.hidden_size, generator=torch.Generator().manual_seed(0))
    head_VH, terms = trainer.student.head_VH.detach(), tuple(trainer.weights)
    assert dead_terms(hidden_NH, head_VH, batch.parts[0], terms) == ()
    assert dead_terms(hidden_NH, head_VH, _spoilt(batch.parts[0]), terms) == ("kd",)
    with pytest.raises(StageError, match="The term kd of the loss has a value but no gradient at step 1") as caught:
        trainer.run(replace(batch, parts=tuple(map(_spoilt, batch.parts))))
    assert not caught.value.is_retryable
