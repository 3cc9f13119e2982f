"""What arms answer, also where there is no answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kd.evaluation.arms import Answer, ModelLikelihood, Speed, ToolUse
from kd.evaluation.config import SpeedConfig, ToolUseConfig
from kd.models.logit_store import SignalStore
from kd.models.student import Student, random_student
from tests.evaluation.materials import ARCHITECTURE, make_tokenizer, write_test_signal
from tests.evaluation.samples import make_samples
from tests.runtime.torch_engine import TorchEngine, TorchSession

(SAMPLE,) = make_samples(1)
TOOLS = ToolUseConfig(max_new_tokens=8)


class CountingEngine(TorchEngine):
    """An engine that counts its sessions."""

    num_sessions = 0

    def open_session(self) -> TorchSession:
        self.num_sessions += 1
        return super().open_session()


@pytest.fixture
def student() -> Student:
    return random_student(ARCHITECTURE, seed=1)


def tools(student: Student, *, context_tokens: int | None = None, is_constrained: bool = False) -> Answer:
    engine = TorchEngine(student, model="m", context_tokens=context_tokens)
    return ToolUse(engine=engine, tokenizer=make_tokenizer(), config=TOOLS, is_constrained=is_constrained).answer(SAMPLE, SAMPLE.id)


def likelihood(student: Student, folder: Path) -> Answer:
    tokenizer = make_tokenizer()
    write_test_signal((SAMPLE,), tokenizer, random_student(ARCHITECTURE, seed=1), folder)
    return ModelLikelihood(student=student, tokenizer=tokenizer, store=SignalStore.open(folder, "test")).answer(SAMPLE, SAMPLE.id)


def broken(student: Student) -> Student:
    with torch.no_grad():
        student.model.norm.weight.fill_(float("nan"))
    return student


def test_a_prompt_over_the_context_is_a_failed_item(student: Student) -> None:
    """A card that does not fit the context is counted, with all scores at zero."""
    answer = tools(student, context_tokens=20)
    assert answer.outcome == "too_long"
    assert {score.total for score in answer.scores} == {0.0}
    assert "20" in answer.transcript["error"]


def test_an_answer_that_is_cut_is_said_to_be(student: Student) -> None:
    """An answer that reached the limit is truncated, with and without a grammar, and is scored as it stands."""
    assert tools(student).outcome == "truncated"
    constrained = tools(student, is_constrained=True)
    assert (constrained.outcome, constrained.transcript["finish"]) == ("truncated", "length_incomplete")
    assert constrained.transcript["grammar"]


def test_a_broken_model_is_not_finite(student: Student, tmp_path: Path) -> None:
    """NaN weights give items of their own outcome: no likelihood, and no right call."""
    assert tools(broken(student)).outcome == "not_finite"
    answer = likelihood(student, tmp_path)
    assert (answer.outcome, answer.scores) == ("not_finite", ())


def test_a_transcript_holds_what_the_sums_are_made_of(student: Student, tmp_path: Path) -> None:
    """Whoever adds the numbers of a likelihood transcript gets the recorded sums."""
    answer = likelihood(student, tmp_path)
    sums = {score.name: (score.total, score.count) for score in answer.scores}
    for name in ("nll_nats", "kl_nats"):
        total, count = sums[name]
        assert total == pytest.approx(sum(answer.transcript[name]))
        assert count == len(answer.transcript[name])


def test_only_the_first_request_warms_up(student: Student) -> None:
    """Warm-up requests come before the first timed one of a process and are counted nowhere."""
    engine = CountingEngine(student, model="m")
    arm = Speed(engine=engine, tokenizer=make_tokenizer(), config=SpeedConfig(num_warm_ups=3, num_new_tokens=2))
    first, second = arm.answer(SAMPLE, "0/x"), arm.answer(SAMPLE, "1/x")
    assert engine.num_sessions == 3 + 2
    assert [score.count for score in first.scores] == [score.count for score in second.scores] == [1, 1]
    assert first.transcript["num_warm_ups"] == 3
