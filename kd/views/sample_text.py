"""Samples out of their JSON lines: what a list says of each, and the whole text of one, safe to draw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from attrs import frozen

from kd.dataset.sample import Sample, sample_from_json
from kd.dataset.tools import Tool, call_text
from kd.errors import DigestMismatchError
from kd.views.safe_text import SafeText, safe_lines, safe_text

__all__ = ["SampleHead", "SamplePart", "SampleText", "context_digest", "read_sample_text", "sample_heads"]


@frozen(kw_only=True)
class SampleHead:
    """What a list says of a sample, and where its line is."""

    offset: int
    """Bytes before the line."""
    num_bytes: int
    id: str
    kind: str
    split: str
    scenario: str
    structure: str
    tools: tuple[str, ...]
    """Names of the tools that are offered."""
    num_target_characters: int
    origin: str
    """`teacher` or `scenario`."""
    finish: str
    request_key: str
    """Of the request whose reply is the target; empty where no reply is."""
    context: bytes
    """`context_digest` of the messages, by which a sample is found for the request that it was made of."""


@frozen(kw_only=True)
class SamplePart:
    """A titled part of a sample's text."""

    title: str
    note: str = ""
    lines: tuple[SafeText, ...]
    is_supervised: bool = False
    """It is to be learnt."""


@frozen(kw_only=True)
class SampleText:
    """A sample to read: context, tools, what is to be learnt, and where it comes from."""

    id: str
    parts: tuple[SamplePart, ...]
    gold_calls: tuple[SafeText, ...]


class _Message(msgspec.Struct):
    role: str
    content: str


class _Named(msgspec.Struct):
    name: str


class _Segment(msgspec.Struct):
    text: str


class _Labels(msgspec.Struct):
    scenario: str
    structure: str


class _Source(msgspec.Struct):
    origin: str
    request_key: str


class _Decoding(msgspec.Struct):
    finish: str


class _Line(msgspec.Struct):
    id: str
    kind: str
    split: str
    messages: tuple[_Message, ...]
    tools: tuple[_Named, ...]
    segments: tuple[_Segment, ...]
    labels: _Labels
    source: _Source
    decoding: _Decoding


_DECODE = msgspec.json.Decoder(_Line).decode


def sample_heads(data: bytes) -> Iterator[SampleHead]:
    """The head of each sample of JSON lines, in their order; ValueError naming the first line that is none."""
    offset = 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if not line.startswith(b'{"schema"'):  # the header of a shard
            try:
                yield _head(_DECODE(line), offset, len(line))
            except msgspec.DecodeError as error:
                raise ValueError(f"Line {number} is no sample: {error}.") from error
        offset += len(line)


def context_digest(messages: Iterable[tuple[str, str]]) -> bytes:
    """16 bytes that stand for the roles and contents of `messages`."""
    digest = hashlib.blake2b(digest_size=16)
    for role, content in messages:
        digest.update(f"{role}\0{len(content)}\0{content}".encode("utf-8", "surrogatepass"))
    return digest.digest()


def read_sample_text(line: bytes) -> SampleText:
    """The sample of a JSON line; ValueError if it is none, or if its content does not fit its id."""
    try:
        sample = sample_from_json(line)
    except DigestMismatchError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # cattrs raises groups of what its hooks raise
        raise ValueError(f"The line is no sample: {type(error).__name__}.") from error
    parts = [SamplePart(title=message.role.upper(), lines=safe_lines(message.content)) for message in sample.messages]
    parts += [
        SamplePart(
            title="TARGET" if segment.kind == "text" else "TARGET CALL",
            note="" if segment.is_supervised else "not supervised",
            lines=safe_lines(segment.text),
            is_supervised=segment.is_supervised,
        )
        for segment in sample.segments
        if segment.kind != "eos"
    ]
    gold = tuple(safe_text(call_text(call)) for call in sample.gold_calls)
    if gold and "\n".join(gold) != safe_text(sample.target):
        parts.append(SamplePart(title="RIGHT CALL", lines=gold))
    if sample.tools:
        parts.append(SamplePart(title="TOOLS", note=str(len(sample.tools)), lines=tuple(_tool(tool) for tool in sample.tools)))
    parts.append(SamplePart(title="WHERE FROM", lines=tuple(_facts(sample))))
    return SampleText(id=sample.id, parts=tuple(parts), gold_calls=gold)


def _head(line: _Line, offset: int, num_bytes: int) -> SampleHead:
    return SampleHead(
        offset=offset,
        num_bytes=num_bytes,
        id=line.id,
        kind=line.kind,
        split=line.split,
        scenario=line.labels.scenario,
        structure=line.labels.structure,
        tools=tuple(tool.name for tool in line.tools),
        num_target_characters=sum(len(segment.text) for segment in line.segments),
        origin=line.source.origin,
        finish=line.decoding.finish,
        request_key=line.source.request_key,
        context=context_digest((message.role, message.content) for message in line.messages),
    )


def _tool(tool: Tool) -> SafeText:
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    arguments = ", ".join(f"{name}{'' if name in required else '?'}: {_type(schema)}" for name, schema in properties.items())
    return safe_text(f"{tool.name}({arguments})  {tool.description}")


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "enum" in schema:
        return " | ".join(str(each) for each in schema["enum"])
    return str(schema.get("type", "any"))


def _facts(sample: Sample) -> Iterator[SafeText]:
    source, decoding, labels = sample.source, sample.decoding, sample.labels
    words = "words of the teacher" if source.origin == "teacher" else "written by the generator, which knows the right call"
    facts = [
        f"sample    {sample.id}",
        f"origin    {source.origin}: {words}",
        f"licence   {source.licence}",
        f"request   {source.request_key[:16]}…" if source.request_key else "",
        f"reply     blob {source.reply[:16]}…" if source.reply else "",
        f"finish    {decoding.finish}{'' if sample.has_eos else ', the end is not learnt'}",
        f"grammar   {len(decoding.grammar):,} characters bound the target" if decoding.grammar else "",
        f"allowed   {decoding.allowed_mass_mean:.4g} of the probability, on average; {decoding.allowed_mass_min:.4g} at least"
        if decoding.allowed_mass_mean is not None and decoding.allowed_mass_min is not None
        else "",
        f"card      {labels.index} of {labels.scenario}{f', {labels.structure} arguments' if labels.structure else ''}, seed {labels.seed}",
    ]
    return (safe_text(fact) for fact in facts if fact)
