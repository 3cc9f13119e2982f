"""A row of a data set: what the teacher saw, what is to be learnt, and where both come from.

The target of a sample is its segments joined. A sample's id is the digest of its content, so equal content has equal id,
and a row whose content was altered no longer fits its id.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import Literal

from attrs import evolve as replace
from attrs import field, frozen, validators

from kd.dataset.canonical import canonical_json, digest_of, structure
from kd.dataset.tools import Tool, ToolCall
from kd.errors import DigestMismatchError

__all__ = [
    "Decoding",
    "Labels",
    "Message",
    "Sample",
    "Segment",
    "Source",
    "make_sample",
    "sample_from_json",
    "sample_of_text",
    "sample_to_json",
    "samples_from_jsonl",
    "samples_to_jsonl",
]


def _check_text(_instance: object, attribute: object, text: str) -> None:
    if "\r" in text or not unicodedata.is_normalized("NFC", text):
        raise ValueError(f"A text of a sample must be NFC with line feeds alone, got {text[:60]!r}: normalise it first.")


@frozen(kw_only=True)
class Message:
    """One turn of the context."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = field(validator=_check_text)


@frozen(kw_only=True)
class Segment:
    """A piece of the target; `eos` has no text and says that the answer ends here."""

    kind: Literal["text", "tool_call", "eos"]
    text: str = field(validator=_check_text)
    is_supervised: bool = True


@frozen(kw_only=True)
class Labels:
    """Where a sample lies in the space of tasks."""

    scenario: str
    """`file_ops`, `web_search`, `code_exec` … for tool use; the topic for plain instructions."""
    structure: str = ""
    """Form of the arguments: `flat`, `enum`, `number`, `array`, `optional`; empty for plain instructions."""
    index: int
    """Position in the generator that made the item."""
    seed: int


@frozen(kw_only=True)
class Source:
    """Where the target comes from."""

    origin: Literal["teacher", "scenario"]
    """`teacher`: a recorded reply; `scenario`: the right call, known to the generator."""
    request_key: str = ""
    reply: str = ""
    """SHA-256 of the stored reply; empty where no teacher was asked."""
    licence: str
    """SPDX identifier of the terms under which the text may be used."""


@frozen(kw_only=True)
class Decoding:
    """How the target was decoded."""

    finish: Literal["stop", "length", "grammar_end", "known"]
    """`known`: written by the generator, not decoded."""
    grammar: str = ""
    """The grammar that constrains the target; empty for free text."""
    allowed_mass_mean: float | None = None
    """Mean probability that the teacher gave to what the grammar allowed, over the reply's tokens."""
    allowed_mass_min: float | None = None


@frozen(kw_only=True)
class Sample:
    """A row of a data set; made by `make_sample`."""

    id: str = field(validator=validators.matches_re(r"r-[0-9a-f]{32}"))
    role: Literal["worker"] = "worker"
    kind: Literal["plain", "tool_use"]
    split: Literal["train", "val", "test"]
    messages: tuple[Message, ...] = field(validator=validators.min_len(1))
    """The exact context the teacher saw."""
    tools: tuple[Tool, ...]
    """The tools that the context offers."""
    segments: tuple[Segment, ...] = field(validator=validators.min_len(1))
    gold_calls: tuple[ToolCall, ...]
    """The right calls where they are known, else empty."""
    labels: Labels
    source: Source
    decoding: Decoding

    @property
    def target(self) -> str:
        """The text to be learnt."""
        return "".join(segment.text for segment in self.segments)

    @property
    def has_eos(self) -> bool:
        """The answer ends by itself, so that its end is to be learnt too."""
        return self.segments[-1].kind == "eos"

    @property
    def chat(self) -> tuple[dict[str, str], ...]:
        """The context as mappings of role and content, for a chat template."""
        return tuple({"role": message.role, "content": message.content} for message in self.messages)


def make_sample(
    *,
    kind: Literal["plain", "tool_use"],
    split: Literal["train", "val", "test"],
    messages: tuple[Message, ...],
    tools: tuple[Tool, ...] = (),
    segments: tuple[Segment, ...],
    gold_calls: tuple[ToolCall, ...] = (),
    labels: Labels,
    source: Source,
    decoding: Decoding,
) -> Sample:
    """A sample with the id that its content gives it."""
    return Sample(
        id=_id_of("worker", messages, tools, segments),
        kind=kind,
        split=split,
        messages=messages,
        tools=tools,
        segments=segments,
        gold_calls=gold_calls,
        labels=labels,
        source=source,
        decoding=decoding,
    )


def sample_to_json(sample: Sample) -> bytes:
    """`sample` as canonical JSON."""
    return canonical_json(sample)


def sample_from_json(data: bytes) -> Sample:
    """The inverse of `sample_to_json`; DigestMismatchError if the id is not that of the content."""
    sample = structure(json.loads(data), Sample)
    found = _id_of(sample.role, sample.messages, sample.tools, sample.segments)
    if sample.id != found:
        raise DigestMismatchError(f"the content of sample {sample.id}", sample.id, found)
    return sample


def sample_of_text(data: bytes) -> Sample:
    """The sample that `data` describes, under the id that its content gives it, whichever it says."""
    sample = structure(json.loads(data), Sample)
    return replace(sample, id=_id_of(sample.role, sample.messages, sample.tools, sample.segments))


def samples_to_jsonl(samples: Iterable[Sample]) -> bytes:
    """`samples` in their order, one line each."""
    return b"".join(sample_to_json(sample) + b"\n" for sample in samples)


def samples_from_jsonl(data: bytes) -> tuple[Sample, ...]:
    """The inverse of `samples_to_jsonl`."""
    return tuple(sample_from_json(line) for line in data.splitlines())


def _id_of(role: str, messages: tuple[Message, ...], tools: tuple[Tool, ...], segments: tuple[Segment, ...]) -> str:
    return "r-" + digest_of({"role": role, "messages": messages, "tools": tools, "segments": segments})[:32]
