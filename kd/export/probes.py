"""The token sequences on which parity is measured: held-out text where there is some, and adversarial cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from attrs import frozen

from kd.dataset.sample import Sample
from kd.models.contract import SpecialTokens
from kd.models.parity import MIN_POSITIONS, MIN_SEQUENCES
from kd.models.rendering import SampleTokenizer, tokenise_sample

__all__ = ["Probes", "held_out_tokens", "make_probes"]


@frozen(kw_only=True)
class Probes:
    """Sequences of token ids."""

    full: tuple[tuple[int, ...], ...]
    """Sequences of the longest length; enough of them that every length gives 512 positions."""
    adversarial: tuple[tuple[int, ...], ...]
    """One token repeated; special tokens alone; a single token."""
    num_held_out: int
    """How many of `full` are held-out text; the others are drawn."""
    num_rows: int
    """Rows of each sequence, before the end of each length, that decoding is measured on."""


def make_probes(
    held_out: Iterable[int], *, lengths: tuple[int, ...], vocab_size: int, special: SpecialTokens, generator: np.random.Generator
) -> Probes:
    """Probes for programs of `lengths`; what `held_out` lacks in tokens is drawn evenly from the vocabulary."""
    longest = max(lengths)
    count = max(MIN_SEQUENCES, math.ceil(MIN_POSITIONS / min(lengths)))
    stream = list(_first(held_out, count * longest))
    windows = [tuple(stream[start : start + longest]) for start in range(0, len(stream) - longest + 1, longest)]
    drawn = [tuple(int(token) for token in generator.integers(vocab_size, size=longest)) for _ in range(count - len(windows))]
    specials = (special.bos, special.eos, special.pad)
    return Probes(
        full=(*windows, *drawn),
        adversarial=(
            (int(generator.integers(vocab_size)),) * longest,
            tuple(specials[place % len(specials)] for place in range(longest)),
            (special.bos,),
        ),
        num_held_out=len(windows),
        num_rows=math.ceil(MIN_POSITIONS / count),
    )


def held_out_tokens(tokenizer: SampleTokenizer, samples: Iterable[Sample]) -> Iterator[int]:
    """The tokens of `samples`, one after another."""
    for sample in samples:
        yield from tokenise_sample(tokenizer, sample).ids


def _first(tokens: Iterable[int], count: int) -> Iterator[int]:
    return (token for _, token in zip(range(count), tokens, strict=False))
