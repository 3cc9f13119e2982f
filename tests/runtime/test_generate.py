"""Decoding: when an answer ends, what it says, and on what it depends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import pytest
from attrs import define, field
from numpy.typing import NDArray

from kd.models.teacher import Sampling
from kd.runtime.engine import EngineIdentity
from kd.runtime.generate import NotFiniteError, PromptTooLongError, generate

EOS = 0
GREEDY = Sampling(temperature=0.0, max_tokens=6)
PIECES = (b"", b"a", b"b", b"\xc3", b"\xa9", b"!")


class Tokens:
    """Six tokens: the end, three letters, and the two halves of é."""

    eos_id = EOS

    def token_bytes(self, index: int, /) -> bytes:
        return PIECES[index]


@define
class Scripted:
    """An engine that wants to say `wanted`, whatever it is asked, and remembers how tokens entered it."""

    wanted: Sequence[int]
    bad: float | None = None
    entered: list[tuple[int, ...]] = field(factory=list)
    identity = EngineIdentity(kind="scripted", version="1", model="m", threads=1)
    vocab_size = len(PIECES)
    context_tokens = 16

    def open_session(self) -> Scripted:
        return self

    @property
    def length(self) -> int:
        return sum(map(len, self.entered))

    def extend(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self.entered.append(tuple(ids))
        logits_V = np.zeros(self.vocab_size, dtype=np.float32)
        place = self.length - len(self.entered[0])
        logits_V[self.wanted[place] if place < len(self.wanted) else EOS] = 5.0 if self.bad is None else self.bad
        return logits_V

    def truncate(self, length: int) -> None:
        raise NotImplementedError


@define
class Words:
    """A grammar of one fixed sequence of sets of tokens."""

    sets: Sequence[frozenset[int]]
    place: int = 0

    @property
    def is_finished(self) -> bool:
        return self.place == len(self.sets)

    @property
    def is_accepting(self) -> bool:
        return self.is_finished

    def mask(self) -> NDArray[np.bool_]:
        return np.array([index in self.sets[self.place] for index in range(len(PIECES) - 1)])

    def advance(self, token: int, /) -> None:
        assert token in self.sets[self.place]
        self.place += 1

    def forced_tokens(self) -> tuple[int, ...]:
        forced = []
        for tokens in self.sets[self.place :]:
            if len(tokens) > 1:
                break
            forced += list(tokens)
        return tuple(forced)


def ticks() -> Iterator[int]:
    return count(1000, 10)


def test_an_answer_ends_at_the_end_token() -> None:
    """The end-of-sequence token stops the answer and is no part of it."""
    record = generate(Scripted([1, 2, EOS, 1]), Tokens(), [1, 1], sampling=GREEDY)
    assert (record.text, record.output_ids, record.finish, record.num_prompt_tokens) == ("ab", (1, 2), "stop", 2)


def test_an_answer_ends_at_the_limit() -> None:
    """No more tokens are decoded than were asked for, and the record says that the limit was reached."""
    record = generate(Scripted([1] * 9), Tokens(), [1], sampling=GREEDY)
    assert (record.text, record.finish) == ("aaaaaa", "length")


def test_the_end_token_can_be_passed_over() -> None:
    """For timing, an answer can be made to go on to the limit whatever the model wants."""
    record = generate(Scripted([EOS] * 9), Tokens(), [1], sampling=GREEDY, stops_at_eos=False)
    assert len(record.output_ids) == 6


def test_a_stop_text_is_cut_off() -> None:
    """A stop text ends the answer even across tokens, and neither it nor what follows is part of the text."""
    record = generate(Scripted([1, 2, 5, 1]), Tokens(), [1], sampling=Sampling(temperature=0.0, max_tokens=6, stop=("b!",)))
    assert (record.text, record.finish) == ("a", "stop")


def test_text_leaves_at_character_borders() -> None:
    """Half a character is no text: it waits for its other half, and is left out if that never comes."""
    clock = ticks()
    record = generate(Scripted([3, 4, 1]), Tokens(), [1], sampling=GREEDY, clock_ns=lambda: next(clock))
    assert record.text == "éa"
    assert record.first_text_ns == record.token_ns[1]
    assert generate(Scripted([1, 3]), Tokens(), [1], sampling=GREEDY).text == "a"


def test_times_are_raw_and_rise() -> None:
    """The record holds the time of the request, of the prefill, of every token and of the end, in that order."""
    clock = ticks()
    record = generate(Scripted([1, 2]), Tokens(), [1], sampling=GREEDY, clock_ns=lambda: next(clock))
    times = [record.request_ns, record.prefilled_ns, *record.token_ns, record.end_ns]
    assert times == sorted(set(times))
    assert len(record.token_ns) == len(record.output_ids)


def test_forced_tokens_enter_together() -> None:
    """What the grammar leaves no choice for is not asked of the model, and enters it in one piece with what was chosen."""
    engine = Scripted([5, 5, 2, 5])
    record = generate(
        engine, Tokens(), [1], sampling=GREEDY, grammar=Words([frozenset({1}), frozenset({1}), frozenset({2, 3}), frozenset({4})])
    )
    assert (record.output_ids, record.finish, record.num_forced_tokens) == ((1, 1, 2, 4), "grammar_end", 3)
    assert engine.entered == [(1,), (1, 1)]


def test_a_mask_holds_the_model_to_the_grammar() -> None:
    """A token that the grammar forbids is never taken, however much the model wants it, nor one beyond the mask."""
    record = generate(Scripted([5, 5]), Tokens(), [1], sampling=GREEDY, grammar=Words([frozenset({2, 3}), frozenset({1, 2})]))
    assert (record.output_ids, record.finish) == ((2, 1), "grammar_end")


def test_a_limit_inside_the_grammar_is_said() -> None:
    """An answer cut where the grammar does not allow an end is incomplete, and is not repaired."""
    grammar = Words([frozenset({1, 2})] * 9)
    record = generate(Scripted([1] * 9), Tokens(), [1], sampling=GREEDY, grammar=grammar)
    assert (record.finish, len(record.output_ids)) == ("length_incomplete", 6)


def test_a_sampled_answer_depends_on_seed_and_request_alone() -> None:
    """The same seed and request give the same answer; another request or seed gives another."""

    def answer(seed: int, request: str) -> tuple[int, ...]:
        sampling = Sampling(temperature=5.0, top_p=1.0, max_tokens=12, seed=seed)
        return generate(Scripted([]), Tokens(), [1], sampling=sampling, request_id=request, stops_at_eos=False).output_ids

    assert answer(1, "a") == answer(1, "a")
    assert len({answer(1, "a"), answer(2, "a"), answer(1, "b")}) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_logits_are_an_error(bad: float) -> None:
    """NaN or infinity in the logits is an error, never an argmax."""
    with pytest.raises(NotFiniteError, match="broken"):
        generate(Scripted([1], bad=bad), Tokens(), [1], sampling=GREEDY)


def test_a_prompt_that_leaves_no_room_is_an_error() -> None:
    """Prompt and answer must fit the context together, and the message gives all three numbers."""
    with pytest.raises(PromptTooLongError, match=r"11 tokens.* 6 exceed .* 16"):
        generate(Scripted([1]), Tokens(), [1] * 11, sampling=GREEDY)
    with pytest.raises(ValueError, match="no token"):
        generate(Scripted([1]), Tokens(), [], sampling=GREEDY)
