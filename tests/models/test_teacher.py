"""The teacher port's values: keys that change with what the reply depends on, replies that survive storage."""

from __future__ import annotations

import pytest
from attrs import evolve as replace

from kd.dataset.sample import Message
from kd.models.teacher import (
    Sampling,
    ScoreRow,
    TeacherIdentity,
    TeacherReply,
    TeacherRequest,
    Usage,
    read_reply,
    request_key,
    visible_text,
    write_reply,
)

IDENTITY = TeacherIdentity(kind="local", model="m", weights="w" * 64)
REQUEST = TeacherRequest(messages=(Message(role="user", content="hi"),))


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, messages=(Message(role="user", content="ho"),)),
        replace(REQUEST, messages=(Message(role="system", content="hi"),)),
        replace(REQUEST, grammar='start: "x"'),
        replace(REQUEST, sampling=Sampling(temperature=0.5)),
        replace(REQUEST, sampling=Sampling(seed=1)),
        replace(REQUEST, sample_index=1),
        replace(REQUEST, role="judge"),
    ],
)
def test_another_question_has_another_key(other: TeacherRequest) -> None:
    """Whatever the reply depends on is in the key; an equal request has an equal key."""
    assert request_key(IDENTITY, other) != request_key(IDENTITY, REQUEST)
    assert request_key(IDENTITY, replace(other)) == request_key(IDENTITY, other)


def test_another_teacher_has_another_key_and_another_port_has_not() -> None:
    """Weights and epochs change the key; where the weights are known the address is no part of the identity."""
    assert request_key(replace(IDENTITY, weights="v" * 64), REQUEST) != request_key(IDENTITY, REQUEST)
    hosted = TeacherIdentity(kind="http", model="m", base_url="http://h/v1")
    assert request_key(replace(hosted, epoch="2"), REQUEST) != request_key(hosted, REQUEST)
    with pytest.raises(ValueError, match="not both"):
        replace(IDENTITY, base_url="http://h/v1")


def test_a_reply_survives_storage() -> None:
    """A reply comes back from its JSON, every field of it, and equal replies have equal bytes."""
    reply = TeacherReply(
        text=visible_text("Grüße\n"),
        finish="grammar_end",
        token_ids=(1, 2),
        allowed_mass=(0.5, 1.0),
        usage=Usage(prompt_tokens=3, output_tokens=2),
        served_model="m",
        duration_seconds=0.25,
    )
    assert read_reply(write_reply(reply)) == reply
    assert write_reply(read_reply(write_reply(reply))) == write_reply(reply)


@pytest.mark.parametrize("mark", ["<think>", "</think>", "<|channel|>analysis"])
def test_text_with_reasoning_marks_is_no_visible_text(mark: str) -> None:
    """Marks of hidden reasoning are refused."""
    with pytest.raises(ValueError, match="reasoning mark"):
        visible_text(f"so {mark} there")


@pytest.mark.parametrize("targets", [(0,), (2, 1), (1, 1), (3,)])
def test_targets_lie_in_order_within_the_row(targets: tuple[int, ...]) -> None:
    """The first token has no distribution, and a target is scored once."""
    with pytest.raises(ValueError, match="must ascend within 1 to 2"):
        ScoreRow(record_id="r", ids=(1, 2, 3), targets=targets)
