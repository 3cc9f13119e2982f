"""Replies become samples or are dropped for a counted reason; nothing is repaired."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from attrs import evolve as replace

from kd.dataset.sample import Sample
from kd.dataset.tools import ToolCall, call_text
from kd.generation.config import GenerationConfig, SamplingConfig, ToolsConfig
from kd.generation.plan import PlannedItem, build_plan, read_plan, write_plan
from kd.generation.samples import AnsweredItem, Built, build_samples
from kd.models.teacher import TeacherIdentity, TeacherReply, visible_text
from tests.models.serving import small_tokenizer

IDENTITY = TeacherIdentity(kind="local", model="small", weights="0" * 64)
TOKENIZER = small_tokenizer()
PLAN = build_plan(GenerationConfig(), IDENTITY, 1)
PLAIN = next(item for item in PLAN.items if item.kind == "plain" and item.split == "train")
CARD = next(item for item in PLAN.items if item.kind == "tool_use" and item.split == "train")
HELD_OUT = next(item for item in PLAN.items if item.kind == "tool_use" and item.split == "test")


def _reply(text: str, finish: Any = "stop", mass: tuple[float, ...] = ()) -> TeacherReply:
    return TeacherReply(text=visible_text(text), finish=finish, served_model="small", allowed_mass=mass)


def _built(item: PlannedItem, reply: TeacherReply | None, **config: Any) -> Built:
    answered = AnsweredItem(item=item, reply=reply, reply_sha256="r" * 64 if reply else "", rejection="" if reply else "empty")
    return build_samples([answered], GenerationConfig(**config), licence="MIT", tokenizer=TOKENIZER)


def _only(built: Built) -> Sample:
    assert built.dropped == {}
    (one,) = built.samples
    return one


def test_an_answer_that_ended_is_taught_with_its_end() -> None:
    """Text, end, source and context of a plain reply."""
    one = _only(_built(PLAIN, _reply("Fine.\r\nYes.")))
    assert (one.target, one.has_eos, one.source.origin, one.source.licence) == ("Fine.\nYes.", True, "teacher", "MIT")
    assert (one.source.request_key, one.messages, one.split) == (PLAIN.key, PLAIN.messages, "train")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (_reply("cut of", "length"), "truncated"),
        (_reply("  \n"), "empty"),
        (_reply("half \ufffd"), "broken_characters"),
        (_reply("an <|end|> in text"), "spells_control_token"),
        (_reply("no", "content_filter"), "finish_content_filter"),
        (None, "rejected_empty"),
    ],
)
def test_what_may_not_be_taught_is_dropped_and_counted(reply: TeacherReply | None, reason: str) -> None:
    """Each reason has a name of its own."""
    built = _built(PLAIN, reply, sampling=SamplingConfig(on_truncation="reject"))
    assert (built.samples, built.dropped) == ((), {reason: 1})


def test_a_cut_answer_is_kept_on_request_without_an_end() -> None:
    """Where truncated replies are kept their end is not taught, since the teacher did not end there."""
    one = _only(_built(PLAIN, _reply("cut of", "length"), sampling=SamplingConfig(on_truncation="keep")))
    assert not one.has_eos


def test_a_right_call_is_taught_as_the_teacher_wrote_it() -> None:
    """A call that equals gold becomes a teacher row, with the mass that its grammar allowed."""
    assert CARD.gold is not None
    built = _built(CARD, _reply(call_text(CARD.gold), "grammar_end", (0.5, 1.0)))
    one = _only(built)
    assert (one.source.origin, one.gold_calls, one.tools) == ("teacher", (CARD.gold,), CARD.tools)
    assert (one.decoding.allowed_mass_mean, one.decoding.allowed_mass_min, one.decoding.finish) == (0.75, 0.5, "grammar_end")
    assert one.decoding.grammar == CARD.grammar
    assert (built.num_right_calls, built.num_asked_calls) == (1, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (call_text(ToolCall(name="launch", arguments={})), "wrong_call"),
        ('{"name": "read_file"', "malformed_call"),
        ("I would call a tool.", "malformed_call"),
    ],
)
def test_a_wrong_call_is_dropped_or_corrected(text: str, reason: str) -> None:
    """A call that is not gold is never taught; where the config says so the right one takes its place, as a row of the scenario."""
    assert CARD.gold is not None
    built = _built(CARD, _reply(text))
    assert (built.samples, built.dropped, built.num_right_calls) == ((), {reason: 1}, 0)
    one = _only(_built(CARD, _reply(text), tools=ToolsConfig(answers="corrected")))
    assert (one.source.origin, one.source.request_key, one.target) == ("scenario", "", call_text(CARD.gold))
    assert one.decoding.allowed_mass_mean is None


def test_words_around_a_right_call_make_it_wrong() -> None:
    """Only the call itself is an answer."""
    assert CARD.gold is not None
    assert _built(CARD, _reply(f"Sure: {call_text(CARD.gold)}")).dropped == {"wrong_call": 1}


def test_a_held_out_card_is_never_asked_and_holds_the_right_call() -> None:
    """Test rows are the truth, so what the teacher would get wrong is measured too."""
    assert HELD_OUT.sampling is None
    assert HELD_OUT.key == ""
    one = _only(_built(HELD_OUT, None))
    assert (one.split, one.source.origin, one.decoding.finish) == ("test", "scenario", "known")


def test_equal_samples_are_kept_once() -> None:
    """A repeated context and answer is counted, not taught twice."""
    answered = [AnsweredItem(item=PLAIN, reply=_reply("Yes.")), AnsweredItem(item=replace(PLAIN), reply=_reply("Yes."))]
    built = build_samples(answered, GenerationConfig(), licence="MIT", tokenizer=TOKENIZER)
    assert (len(built.samples), built.dropped) == (1, {"repeated": 1})


def test_samples_do_not_depend_on_the_order_of_replies() -> None:
    """They are sorted by id."""
    answered = [AnsweredItem(item=item, reply=_reply("Yes.")) for item in PLAN.items if item.kind == "plain"][:9]
    forth, back = (build_samples(order, GenerationConfig(), licence="MIT", tokenizer=TOKENIZER) for order in (answered, answered[::-1]))
    assert forth == back


def test_a_plan_is_a_function_of_config_teacher_and_seed() -> None:
    """Equal arguments give equal bytes and keys; another teacher gives other keys; a written plan is read back."""
    assert write_plan(build_plan(GenerationConfig(), IDENTITY, 1)) == write_plan(PLAN)
    assert read_plan(write_plan(PLAN)) == PLAN
    other = build_plan(GenerationConfig(), replace(IDENTITY, weights="1" * 64), 1)
    assert not set(other.keys) & set(PLAN.keys)
    assert len(set(PLAN.keys)) == len(PLAN.keys)


@pytest.mark.parametrize(("mode", "has_task_words"), [("schema", False), ("grounded", True), ("planned", True)])
def test_the_grammar_follows_the_mode(mode: Literal["schema", "grounded", "planned"], has_task_words: bool) -> None:
    """A planned call names one tool, and a grounded one holds words of the task."""
    item = build_plan(GenerationConfig(tools=ToolsConfig(mode=mode)), IDENTITY, 1).items[0]
    assert item.grammar is not None
    assert item.gold is not None
    named = sum(json_name in item.grammar for json_name in (tool.name for tool in item.tools))
    assert named == (1 if mode == "planned" else 3)
    assert ("substring" in item.grammar) is has_task_words
