"""Scoring an answer that should call tools: is it a valid call, of the right tool, with the right arguments."""

from __future__ import annotations

from collections.abc import Sequence

from kd.dataset.sample import Sample
from kd.dataset.tools import ToolCall
from kd.evaluation.events import Score
from kd.tool_use.calls import call_equals_gold, calls_equal_gold, parse_calls
from kd.tool_use.validity import call_is_valid

__all__ = ["score_answer"]


def score_answer(text: str, sample: Sample) -> tuple[Score, ...]:
    """Scores of `text` against the gold calls of `sample`.

    `call_validity`: there is a call, none is malformed, and each fits the schema of an offered tool.
    `tool_name_accuracy`: the names of the calls are the gold names, in order. `right_call`: the calls equal the gold calls.
    `argument_accuracy`: gold arguments that the call of the same tool at the same place has with the same value.
    """
    calls, malformed = parse_calls(text)
    gold = sample.gold_calls
    is_parsed = bool(calls) and not malformed
    return (
        _flag("call_validity", is_parsed and all(call_is_valid(call, sample.tools) for call in calls)),
        _flag("tool_name_accuracy", is_parsed and [call.name for call in calls] == [call.name for call in gold]),
        _flag("right_call", is_parsed and calls_equal_gold(calls, gold)),
        Score(
            name="argument_accuracy",
            total=float(_num_right_arguments(calls, gold)),
            count=sum(len(call.arguments) for call in gold),
        ),
    )


def _flag(name: str, is_so: bool) -> Score:
    return Score(name=name, total=1.0 if is_so else 0.0)


def _num_right_arguments(calls: Sequence[ToolCall], gold: Sequence[ToolCall]) -> int:
    return sum(
        call_equals_gold(_only(found, name), _only(wanted, name))
        for found, wanted in zip(calls, gold)
        for name in wanted.arguments
        if found.name == wanted.name and name in found.arguments
    )


def _only(call: ToolCall, name: str) -> ToolCall:
    return ToolCall(name=call.name, arguments={name: call.arguments[name]})
