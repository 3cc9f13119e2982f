"""A sample as token ids: the context through the chat template, then the target, then the end of the answer.

Only target tokens can be supervised. Token i of the target covers the bytes that its vocabulary entry stands for; a token is
supervised iff it overlaps a supervised segment, and the end-of-sequence token iff the sample ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import frozen

from kd.dataset.sample import Sample, Segment

__all__ = ["SampleTokenizer", "TokenisedSample", "tokenise_sample"]


class SampleTokenizer(Protocol):
    """What rendering needs of a tokenizer."""

    @property
    def eos_id(self) -> int: ...

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]: ...

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> list[int]: ...

    def token_bytes(self, index: int, /) -> bytes: ...


@frozen(kw_only=True)
class TokenisedSample:
    """A sample as a model reads it."""

    sample_id: str
    ids: tuple[int, ...]
    is_supervised: tuple[bool, ...]
    """Whether token i, as a target, is to be learnt."""
    target_start: int
    """Index of the first target token: what lies before it is context."""

    @property
    def supervised_positions(self) -> tuple[int, ...]:
        """Indices of the supervised targets, in order: the rows of a teacher signal."""
        return tuple(index for index, flag in enumerate(self.is_supervised) if flag)


def tokenise_sample(tokenizer: SampleTokenizer, sample: Sample) -> TokenisedSample:
    """`sample` in the tokens of `tokenizer`; ValueError if the target's tokens do not spell the target."""
    context = tokenizer.encode_chat(sample.chat, add_generation_prompt=True)
    target = tokenizer.encode(sample.target)
    pieces = [tokenizer.token_bytes(index) for index in target]
    if b"".join(pieces) != sample.target.encode():
        raise ValueError(f"The tokens of sample {sample.id} do not spell its target: use the tokenizer that the data set names.")
    flags = _supervised(pieces, sample.segments)
    if sample.has_eos:
        target = [*target, tokenizer.eos_id]
        flags = [*flags, sample.segments[-1].is_supervised]
    return TokenisedSample(
        sample_id=sample.id,
        ids=(*context, *target),
        is_supervised=(*(False for _ in context), *flags),
        target_start=len(context),
    )


def _supervised(pieces: Sequence[bytes], segments: Sequence[Segment]) -> list[bool]:
    supervised_bytes = [segment.is_supervised for segment in segments for _ in segment.text.encode()]
    flags, start = [], 0
    for piece in pieces:
        flags.append(any(supervised_bytes[start : start + len(piece)]))
        start += len(piece)
    return flags
