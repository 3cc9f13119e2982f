"""Samples for tests."""

from __future__ import annotations

from kd.dataset.sample import Decoding, Labels, Message, Sample, Segment, Source, make_sample
from kd.dataset.shards import Origin, Split
from kd.dataset.tools import Tool, ToolCall

__all__ = ["ORIGIN", "sample"]

ORIGIN = Origin(teacher="t" * 64, tokenizer="k" * 64, chat_template="c" * 64, plan="p" * 64, seed=1)


def sample(
    *,
    prompt: str = "hello",
    answer: str = "hi",
    split: Split = "train",
    has_eos: bool = True,
    index: int = 0,
    tools: tuple[Tool, ...] = (),
    gold: tuple[ToolCall, ...] = (),
) -> Sample:
    """A plain sample, or one of tool use if it has tools."""
    end = (Segment(kind="eos", text=""),) if has_eos else ()
    return make_sample(
        kind="tool_use" if tools else "plain",
        split=split,
        messages=(Message(role="user", content=prompt),),
        tools=tools,
        segments=(Segment(kind="tool_call" if tools else "text", text=answer), *end),
        gold_calls=gold,
        labels=Labels(scenario="greeting", index=index, seed=1),
        source=Source(origin="teacher", licence="Apache-2.0"),
        decoding=Decoding(finish="stop"),
    )
