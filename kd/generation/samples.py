"""Replies become samples, or are dropped for a reason that is counted.

What a student may learn: a visible answer that ended (or, where the config says so, one that was cut), and a call that is
exactly the right one. Nothing is repaired or trimmed. Items whose right answer is known without asking become samples too.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from attrs import frozen

from kd.dataset.sample import Decoding, Sample, Segment, Source, make_sample, sample_of_text, sample_to_json
from kd.dataset.tools import call_text
from kd.generation.config import GenerationConfig
from kd.generation.plan import PlannedItem
from kd.models.teacher import TeacherReply
from kd.tool_use.calls import calls_equal_gold, parse_calls

__all__ = ["AnsweredItem", "Built", "ControlTokens", "build_samples"]

_GENERATOR_LICENCE = "Apache-2.0"
"""Cards and their right calls are kd's own."""


class ControlTokens(Protocol):
    """What building needs of a tokenizer."""

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]: ...


@frozen(kw_only=True)
class AnsweredItem:
    """A planned item and what came of its request."""

    item: PlannedItem
    reply: TeacherReply | None = None
    reply_sha256: str = ""
    rejection: str = ""
    """Kind of failure; empty unless the request was rejected."""


@frozen(kw_only=True)
class Built:
    """Samples sorted by id, and what was left out."""

    samples: tuple[Sample, ...]
    dropped: Mapping[str, int]
    num_right_calls: int
    num_asked_calls: int


@frozen
class _Dropped:
    reason: str


def build_samples(
    answered: Sequence[AnsweredItem],
    config: GenerationConfig,
    *,
    licence: str,
    tokenizer: ControlTokens,
    redacted: Callable[[bytes], bytes] = bytes,
) -> Built:
    """The samples that `answered` gives under `config`; `licence` is that of the teacher's text.

    `redacted` takes secrets out of a sample's JSON: those that only stand there since texts were put together.
    """
    results = [_without_secrets(_result(one, config, licence, tokenizer), redacted) for one in answered]
    by_id = {result.id: result for result in results if isinstance(result, Sample)}
    reasons = Counter(result.reason for result in results if isinstance(result, _Dropped))
    num_repeated = sum(isinstance(result, Sample) for result in results) - len(by_id)
    if num_repeated:
        reasons["repeated"] = num_repeated
    asked = [one for one in answered if one.item.gold is not None and one.reply is not None]
    return Built(
        samples=tuple(by_id[id_] for id_ in sorted(by_id)),
        dropped=dict(sorted(reasons.items())),
        num_right_calls=sum(_is_right(one) for one in asked),
        num_asked_calls=len(asked),
    )


def _result(one: AnsweredItem, config: GenerationConfig, licence: str, tokenizer: ControlTokens) -> Sample | _Dropped:
    if one.item.kind == "tool_use":
        return _tool_result(one, config, licence)
    if one.reply is None:
        return _Dropped(f"rejected_{one.rejection or 'unanswered'}")
    text = unicodedata.normalize("NFC", one.reply.text).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return _Dropped("empty")
    if one.reply.finish not in ("stop", "length"):
        return _Dropped(f"finish_{one.reply.finish}")
    if one.reply.finish == "length" and config.sampling.on_truncation == "reject":
        return _Dropped("truncated")
    if "\ufffd" in text:
        return _Dropped("broken_characters")
    if tokenizer.encode(text, allow_special=True) != tokenizer.encode(text):
        return _Dropped("spells_control_token")
    return _sample(one, "text", text, _taught(one, licence), _decoding(one), has_eos=one.reply.finish == "stop")


def _without_secrets(result: Sample | _Dropped, redacted: Callable[[bytes], bytes]) -> Sample | _Dropped:
    if isinstance(result, _Dropped):
        return result
    data = sample_to_json(result)
    clean = redacted(data)
    return result if clean == data else sample_of_text(clean)


def _tool_result(one: AnsweredItem, config: GenerationConfig, licence: str) -> Sample | _Dropped:
    assert one.item.gold is not None, "a card knows its right call"
    known = Source(origin="scenario", licence=_GENERATOR_LICENCE)
    if one.item.sampling is None:
        return _sample(one, "tool_call", call_text(one.item.gold), known, _decoding(one), has_eos=True)
    if one.reply is not None and _is_right(one):
        return _sample(one, "tool_call", one.reply.text, _taught(one, licence), _decoding(one), has_eos=True)
    if config.tools.answers == "corrected":
        unasked = AnsweredItem(item=one.item)
        return _sample(unasked, "tool_call", call_text(one.item.gold), known, _decoding(unasked), has_eos=True)
    if one.reply is None:
        return _Dropped(f"rejected_{one.rejection or 'unanswered'}")
    calls, malformed = parse_calls(one.reply.text)
    return _Dropped("malformed_call" if malformed or len(calls) != 1 else "wrong_call")


def _is_right(one: AnsweredItem) -> bool:
    """The reply is one call, the right one, and nothing else."""
    assert one.item.gold is not None
    assert one.reply is not None
    text = one.reply.text
    calls, malformed = parse_calls(text)
    return not malformed and calls_equal_gold(calls, (one.item.gold,)) and text == text.strip() and text[:1] + text[-1:] == "{}"


def _sample(
    one: AnsweredItem, kind: Literal["text", "tool_call"], text: str, source: Source, decoding: Decoding, *, has_eos: bool
) -> Sample:
    segments = (Segment(kind=kind, text=text), *((Segment(kind="eos", text=""),) if has_eos else ()))
    return make_sample(
        kind=one.item.kind,
        split=one.item.split,
        messages=one.item.messages,
        tools=one.item.tools,
        segments=segments,
        gold_calls=() if one.item.gold is None else (one.item.gold,),
        labels=one.item.labels,
        source=source,
        decoding=decoding,
    )


def _taught(one: AnsweredItem, licence: str) -> Source:
    return Source(origin="teacher", request_key=one.item.key, reply=one.reply_sha256, licence=licence)


def _decoding(one: AnsweredItem) -> Decoding:
    grammar = one.item.grammar or ""
    if one.reply is None:
        return Decoding(finish="known", grammar=grammar)
    finish: Literal["stop", "length", "grammar_end"] = "length" if one.reply.finish == "length" else "stop"
    mass = one.reply.allowed_mass
    return Decoding(
        finish="grammar_end" if one.reply.finish == "grammar_end" else finish,
        grammar=grammar,
        allowed_mass_mean=sum(mass) / len(mass) if mass else None,
        allowed_mass_min=min(mass) if mass else None,
    )
