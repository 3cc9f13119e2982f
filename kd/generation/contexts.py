"""The context a teacher sees: tools, worked examples and a task as chat messages.

A student is taught with the same messages, so they are short: a whole tool sample fits in 256 tokens of SmolLM2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kd.dataset.sample import Message
from kd.dataset.tools import Tool, call_text
from kd.generation.scenarios import EXAMPLES, Card

__all__ = ["Style", "card_messages", "instruction_messages"]

Style = Literal["plain", "terse"]


def instruction_messages(text: str, *, style: Style) -> tuple[Message, ...]:
    """The context of a plain instruction."""
    system = {"plain": "You are a helpful assistant.", "terse": "answer"}[style]
    return (Message(role="system", content=system), Message(role="user", content=text))


def card_messages(card: Card, *, shots: int, style: Style) -> tuple[Message, ...]:
    """The context of a tool card: the offered tools, `shots` worked examples (of offered tools first), the task."""
    offered = [tool.name for tool in card.tools]
    shown = [*offered, *(name for name in EXAMPLES if name not in offered)][:shots]
    turns = [
        message
        for name in shown
        for message in (
            Message(role="user", content=EXAMPLES[name].task),
            Message(role="assistant", content=call_text(EXAMPLES[name].call)),
        )
    ]
    return (Message(role="system", content=_system(card.tools, style)), *turns, Message(role="user", content=card.task))


def _system(tools: Sequence[Tool], style: Style) -> str:
    if style == "terse":
        return " ".join(tool.name for tool in tools)
    lines = [f"{tool.name}({', '.join(tool.parameters['properties'])}): {tool.description}" for tool in tools]
    return "\n".join(["Call the right tool. Answer with JSON only.", *lines])
