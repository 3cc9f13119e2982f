"""Samples as tokens: context first, target next, and supervised are exactly the tokens of supervised bytes."""

from __future__ import annotations

import pytest
from attrs import evolve as replace
from hypothesis import given
from hypothesis import strategies as st

from kd.dataset.sample import Sample, Segment
from kd.models.rendering import tokenise_sample
from tests.dataset.rows import sample
from tests.models.serving import small_tokenizer

TOKENIZER = small_tokenizer()


def _with_segments(*segments: Segment) -> Sample:
    return replace(sample(), segments=segments)


def test_the_target_follows_the_context_and_ends() -> None:
    """Ids are those of the chat template, of the target and of the end; only the last two are supervised."""
    one = sample(prompt="the <|end|>", answer="the end")
    found = tokenise_sample(TOKENIZER, one)
    context = TOKENIZER.encode_chat(one.chat, add_generation_prompt=True)
    assert found.ids == (*context, *TOKENIZER.encode("the end"), TOKENIZER.eos_id)
    assert found.target_start == len(context)
    assert found.supervised_positions == tuple(range(len(context), len(found.ids)))
    assert found.sample_id == one.id


def test_an_answer_that_was_cut_has_no_end() -> None:
    """Without an end-of-sequence segment no end is learnt."""
    found = tokenise_sample(TOKENIZER, sample(answer="the", has_eos=False))
    assert found.ids[-1] != TOKENIZER.eos_id


@given(taught=st.text(max_size=12), shown=st.text(max_size=12))
def test_supervision_follows_bytes(taught: str, shown: str) -> None:
    """A token is supervised iff it covers a byte of a supervised segment, whatever characters they cut."""
    try:
        one = _with_segments(Segment(kind="text", text=shown, is_supervised=False), Segment(kind="text", text=taught))
    except ValueError:
        return
    found = tokenise_sample(TOKENIZER, one)
    pieces = [TOKENIZER.token_bytes(index) for index in found.ids[found.target_start :]]
    ends = [sum(map(len, pieces[: place + 1])) for place in range(len(pieces))]
    expected = [end > len(shown.encode()) for end in ends]
    assert list(found.is_supervised[found.target_start :]) == expected
    assert not any(found.is_supervised[: found.target_start])


def test_an_unsupervised_end_is_not_learnt() -> None:
    """The end counts as its segment says."""
    one = _with_segments(Segment(kind="text", text="the"), Segment(kind="eos", text="", is_supervised=False))
    assert tokenise_sample(TOKENIZER, one).is_supervised[-2:] == (True, False)


def test_a_tokenizer_that_cannot_spell_the_target_is_refused() -> None:
    """Tokens whose bytes are not the target's would teach something else."""

    class Deaf:
        eos_id = 0

        def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
            return TOKENIZER.encode(text.replace("é", "e"), allow_special=allow_special)

        def encode_chat(self, messages: object, *, add_generation_prompt: bool) -> list[int]:
            return []

        def token_bytes(self, index: int) -> bytes:
            return TOKENIZER.token_bytes(index)

    with pytest.raises(ValueError, match="do not spell"):
        tokenise_sample(Deaf(), sample(answer="café"))
