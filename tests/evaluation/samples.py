"""Held-out samples, made by hand."""

from __future__ import annotations

from kd.dataset.sample import Decoding, Labels, Message, Sample, Segment, Source, make_sample
from kd.dataset.tools import ToolCall, call_text
from kd.tool_use.registry import shipped_tool

__all__ = ["make_samples"]

_LABELS = ("pasta", "tea", "laundry", "yoga", "the cake", "reading", "a nap", "the oven", "homework", "the soup")


def make_samples(count: int, *, label: str | None = None) -> tuple[Sample, ...]:
    """Held-out tool cards: set a timer for something, or for `label`."""
    tools = (shipped_tool("set_timer"), shipped_tool("web_search"))
    samples = []
    for index in range(count):
        purpose, minutes = label or _LABELS[index % len(_LABELS)], 3 + index
        gold = ToolCall(name="set_timer", arguments={"label": purpose, "minutes": minutes})
        samples.append(
            make_sample(
                kind="tool_use",
                split="test",
                messages=(Message(role="user", content=f"Set a timer for {purpose}: {minutes} minutes."),),
                tools=tools,
                segments=(Segment(kind="tool_call", text=call_text(gold)), Segment(kind="eos", text="")),
                gold_calls=(gold,),
                labels=Labels(scenario="planning", index=index, seed=0),
                source=Source(origin="scenario", licence="CC0-1.0"),
                decoding=Decoding(finish="known"),
            )
        )
    return tuple(samples)
