"""Settings of the training stage."""

from __future__ import annotations

import pytest

from kd.training.config import LossConfig, OptimizerConfig, StudentConfig, TermConfig, TrainingConfig, student_architecture
from tests.training.toy import TEACHER


def test_temperatures_other_than_one_are_refused() -> None:
    """The stored distributions are unbiased at temperature 1 alone, and the message says so."""
    with pytest.raises(ValueError, match=r"temperature is 2\.0, expected 1: the stored teacher distributions are sparse"):
        LossConfig(temperature=2.0)


def test_a_loss_without_terms_is_refused() -> None:
    """Something must be learnt."""
    none = TermConfig(weight=0.0)
    with pytest.raises(ValueError, match="are all 0, expected something to learn"):
        LossConfig(kd=none, ce_teacher=none, ce_truth=none)


def test_layers_of_a_teacher_keep_their_shape() -> None:
    """With init `teacher` only the number of layers can be chosen."""
    with pytest.raises(ValueError, match=r"student\.hidden_size is given, but init is 'teacher'"):
        TrainingConfig(init="teacher", student=StudentConfig(num_layers=2, hidden_size=64), steps=1)


def test_impossible_numbers_are_refused_with_a_sentence() -> None:
    """Each message names key, value and range."""
    with pytest.raises(ValueError, match=r"steps is 0, expected at least 1: choose a value in that range\."):
        TrainingConfig(steps=0)
    with pytest.raises(ValueError, match=r"lr is -1\.0, expected 1e-09 to 1\.0"):
        OptimizerConfig(lr=-1.0)


def test_what_is_left_out_is_as_in_the_teacher() -> None:
    """A student differs from the teacher in what the settings name, and nothing else."""
    config = TrainingConfig(student=StudentConfig(num_layers=1, intermediate_size=96), steps=1)
    found = student_architecture(config, TEACHER)
    assert (found.num_layers, found.intermediate_size) == (1, 96)
    assert (found.vocab_size, found.hidden_size, found.num_heads) == (TEACHER.vocab_size, TEACHER.hidden_size, TEACHER.num_heads)


def test_a_weight_that_is_left_open_follows_the_data() -> None:
    """It is 0.2 where rows have such tokens and 0 where none has; a weight that is given stays."""
    counts = {"kd": 0, "ce_teacher": 5, "ce_truth": 0}
    assert LossConfig().weights(counts) == {"kd": 0.6, "ce_teacher": 0.2, "ce_truth": 0.0}
    given = LossConfig(ce_truth=TermConfig(weight=0.3))
    assert given.weights(counts)["ce_truth"] == 0.3
