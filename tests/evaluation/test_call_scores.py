"""Scores of answers that should call tools."""

from __future__ import annotations

import pytest

from kd.dataset.tools import call_text
from kd.errors import StageError
from kd.evaluation.call_scores import score_answer
from kd.evaluation.self_test import check_scorers
from tests.evaluation.samples import make_samples

(SAMPLE,) = make_samples(1)  # set_timer(label="pasta", minutes=3)
GOLD = call_text(SAMPLE.gold_calls[0])


def scores(text: str) -> dict[str, tuple[float, int]]:
    return {score.name: (score.total, score.count) for score in score_answer(text, SAMPLE)}


def test_the_gold_call_has_full_marks() -> None:
    """The right call, also with words around it, is valid, of the right tool, right, and has both arguments."""
    for text in (GOLD, f"Sure: {GOLD} Anything else?"):
        assert scores(text) == {
            "call_validity": (1.0, 1),
            "tool_name_accuracy": (1.0, 1),
            "right_call": (1.0, 1),
            "argument_accuracy": (2.0, 2),
        }


@pytest.mark.parametrize("text", ["", "I will set a timer.", GOLD[:-1], f"{GOLD} {{", "{}", '{"name": "set_timer"}'])
def test_what_is_no_whole_call_scores_nothing(text: str) -> None:
    """Silence, talk, a cut call and a call beside a broken one are failures of validity, tool and call."""
    found = scores(text)
    assert [found[name][0] for name in ("call_validity", "tool_name_accuracy", "right_call")] == [0.0, 0.0, 0.0]


def test_a_wrong_argument_is_valid_but_not_right() -> None:
    """A call with one wrong value keeps validity, tool and half of its arguments, and is not the right call."""
    found = scores('{"name": "set_timer", "arguments": {"label": "pasta", "minutes": 4}}')
    assert found == {"call_validity": (1.0, 1), "tool_name_accuracy": (1.0, 1), "right_call": (0.0, 1), "argument_accuracy": (1.0, 2)}


def test_another_tool_is_valid_and_has_no_right_argument() -> None:
    """A valid call of the wrong tool gets no credit for arguments."""
    found = scores('{"name": "web_search", "arguments": {"query": "pasta"}}')
    assert found == {"call_validity": (1.0, 1), "tool_name_accuracy": (0.0, 1), "right_call": (0.0, 1), "argument_accuracy": (0.0, 2)}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "set_timer", "arguments": {"label": "pasta", "minutes": "3"}}',
        '{"name": "set_timer", "arguments": {"label": "pasta", "minutes": true}}',
        '{"name": "set_timer", "arguments": {"label": "pasta"}}',
        '{"name": "set_timer", "arguments": {"label": "pasta", "minutes": 3, "loud": true}}',
        '{"name": "no_such_tool", "arguments": {}}',
    ],
)
def test_arguments_that_break_the_schema_are_invalid(text: str) -> None:
    """Wrong types, missing and unknown arguments and unknown tools are invalid."""
    assert scores(text)["call_validity"] == (0.0, 1)


def test_the_scorers_pass_their_own_test() -> None:
    """The canaries pass on real samples, and every sample adds its own."""
    assert check_scorers(make_samples(3)) - check_scorers(make_samples(2)) == 8


def test_a_gold_call_that_is_invalid_is_found_out() -> None:
    """A sample whose gold call its own tools refuse stops the stage: nothing could be measured on it."""
    broken = make_samples(1, label="pasta" * 20)
    with pytest.raises(StageError, match="the gold call"):
        check_scorers(broken)
