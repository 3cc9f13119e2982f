"""The transcript of an evaluated item, safe to draw: what was answered, the calls in it, and the figures beside it."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from kd.dataset.tools import call_text
from kd.tool_use.calls import parse_calls
from kd.views.safe_text import SafeText, safe_lines, safe_text

__all__ = ["Change", "ItemTranscript", "differing_parts", "read_item_transcript"]

_PIECES = re.compile(r"\w+|\s+|[^\w\s]")
_MAX_COMPARED = 4_000
"""Characters of a line up to which its parts are compared."""


@frozen(kw_only=True)
class ItemTranscript:
    """What an arm said to an item."""

    arm: str
    text: tuple[SafeText, ...] = ()
    """The answer; empty where the suite has no text."""
    has_text: bool
    calls: tuple[SafeText, ...] = ()
    num_malformed: int = 0
    facts: tuple[tuple[str, SafeText], ...] = ()
    """Names and values."""
    series: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """One number a token, by name; divergence only where the teacher had a choice."""


@frozen
class Change:
    """A part of a line, and whether the other line has it too."""

    text: SafeText
    is_shared: bool


def read_item_transcript(data: bytes) -> ItemTranscript:
    """The transcript that the JSON object `data` holds; ValueError if it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("The transcript is no JSON object.") from error
    if not isinstance(value, dict) or value.get("schema") != "kd.transcript/1":
        raise ValueError("The transcript is not of the form kd.transcript/1, which is all that this version reads.")
    text = value.get("text")
    calls, malformed = parse_calls(text) if isinstance(text, str) else ((), ())
    return ItemTranscript(
        arm=safe_text(str(value.get("arm", ""))),
        text=safe_lines(text) if isinstance(text, str) else (),
        has_text=isinstance(text, str),
        calls=tuple(safe_text(call_text(call)) for call in calls),
        num_malformed=len(malformed),
        facts=tuple(_facts(value)),
        series=tuple(_series(value)),
    )


def differing_parts(one: str, other: str) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Both lines in parts, by words and signs: shared or of this line alone."""
    if max(len(one), len(other)) > _MAX_COMPARED:
        return (Change(safe_text(one), is_shared=one == other),), (Change(safe_text(other), is_shared=one == other),)
    left, right = _PIECES.findall(one), _PIECES.findall(other)
    first: list[Change] = []
    second: list[Change] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        is_shared = tag == "equal"
        if b > a:
            first.append(Change(safe_text("".join(left[a:b])), is_shared=is_shared))
        if d > c:
            second.append(Change(safe_text("".join(right[c:d])), is_shared=is_shared))
    return tuple(first), tuple(second)


def _facts(value: Mapping[str, Any]) -> list[tuple[str, SafeText]]:
    words = {
        "finish": "finish",
        "error": "error",
        "num_prompt_tokens": "prompt tokens",
        "num_forced_tokens": "forced tokens",
        "engine": "engine",
        "engine_version": "engine version",
        "threads": "threads",
        "num_warm_ups": "warm-ups",
        "num_tokens": "tokens",
    }
    facts = [(words[name], safe_text(str(value[name]))) for name in words if value.get(name) is not None]
    if isinstance(value.get("output_ids"), list):
        facts.append(("answer tokens", safe_text(str(len(value["output_ids"])))))
    if isinstance(value.get("prefilled_ns"), int):
        facts.append(("prefill", safe_text(f"{value['prefilled_ns'] / 1e6:.3g} ms")))
    return facts


def _series(value: Mapping[str, Any]) -> list[tuple[str, tuple[float, ...]]]:
    found = []
    for name, title in (("nll_nats", "surprise, nats a token"), ("kl_nats", "divergence from the teacher, nats a token")):
        numbers, forced = value.get(name), value.get("is_forced")
        if isinstance(numbers, list) and all(isinstance(each, int | float) for each in numbers):
            is_counted = [not each for each in forced] if name == "kl_nats" and isinstance(forced, list) else [True] * len(numbers)
            found.append((title, tuple(float(each) for each, counts in zip(numbers, is_counted) if counts)))
    times = value.get("token_ns")
    if isinstance(times, list) and len(times) > 1 and all(isinstance(each, int) for each in times):
        found.append(("milliseconds a token", tuple(_steps(times))))
    return found


def _steps(times: Sequence[int]) -> list[float]:
    return [(after - before) / 1e6 for before, after in itertools.pairwise(times)]
