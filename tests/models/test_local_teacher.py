"""The exact teacher: a reply is a function of its question alone, and scores are those of the whole distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kd.models.chat_engine import BadQuestionError, Question, Turn
from kd.models.local_teacher import LocalTeacher
from kd.models.prompt_blocks import BLOCK_TOKENS
from kd.models.student import load_student
from kd.models.teacher import Sampling, ScoreRequest, ScoreRow
from tests.models.serving import small_tokenizer, write_small_teacher

TOKENIZER = small_tokenizer()
CALL = 'start: "{\\"a\\": " /[0-9]{2}/ "}"'
LONG = "the quick brown fox jumps over the lazy dog. " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def teacher(folder: Path) -> LocalTeacher:
    return LocalTeacher(folder, threads=1)


def ask(text: str = "hello", *, grammar: str | None = None, num_top: int | None = None, **sampling: object) -> Question:
    settings = Sampling(**{"max_tokens": 12, **sampling})  # type: ignore[arg-type]
    return Question(turns=(Turn(role="user", content=text),), grammar=grammar, sampling=settings, num_top_logprobs=num_top)


def test_a_reply_depends_on_its_question_alone(folder: Path, teacher: LocalTeacher) -> None:
    """The same question has the same reply, to the last logprob, after any others and in a fresh process's state."""
    wanted = ask(LONG + "now?", num_top=3, seed=5)
    first = LocalTeacher(folder, threads=1).complete(wanted)
    for other in (ask("x"), ask(LONG + "later?"), ask(LONG[:200], seed=5)):
        teacher.complete(other)
    assert teacher.complete(wanted) == first
    assert teacher.complete(wanted) == first


def test_seeds_change_a_sampled_reply_and_not_a_greedy_one(teacher: LocalTeacher) -> None:
    """At temperature 1 the seed draws the reply; at temperature 0 there is nothing to draw."""
    assert teacher.complete(ask(seed=1)).token_ids != teacher.complete(ask(seed=2)).token_ids
    greedy = {teacher.complete(ask(seed=seed, temperature=0.0)).token_ids for seed in (1, 2)}
    assert len(greedy) == 1


def test_greedy_tokens_are_the_most_probable_ones(folder: Path, teacher: LocalTeacher) -> None:
    """Decoding with the cache chooses what a whole forward pass chooses."""
    reply = teacher.complete(ask(LONG, temperature=0.0, max_tokens=6))
    ids = TOKENIZER.encode_chat([{"role": "user", "content": LONG}], add_generation_prompt=True)
    student = load_student(folder)
    for token in reply.token_ids:
        with torch.inference_mode():
            logits_BTV = student.logits(student(torch.tensor([ids])).hidden_BTH)
        assert token == int(logits_BTV[0, -1].argmax())
        ids.append(token)


def test_a_grammar_is_kept_and_its_pressure_recorded(teacher: LocalTeacher) -> None:
    """The reply fits, ends by the grammar, and carries the probability of what was allowed for each token."""
    reply = teacher.complete(ask(grammar=CALL, max_tokens=40))
    assert reply.finish == "grammar_end"
    assert reply.text.startswith('{"a": ')
    assert len(reply.allowed_mass) == len(reply.token_ids) == reply.num_output_tokens
    assert all(0.0 < mass <= 1.0 for mass in reply.allowed_mass)


def test_a_budget_that_ends_inside_the_grammar_says_length(teacher: LocalTeacher) -> None:
    """A reply that is cut is `length`, never repaired."""
    reply = teacher.complete(ask(grammar=CALL, max_tokens=5))
    assert (reply.finish, reply.num_output_tokens) == ("length", 5)


def test_a_stop_string_cuts_the_text(teacher: LocalTeacher) -> None:
    """The text ends before the stop string, and ids that spell more than the text are not told."""
    whole = teacher.complete(ask(max_tokens=20, temperature=0.0))
    stop = whole.text[5:7]
    cut = teacher.complete(ask(max_tokens=20, temperature=0.0, stop=(stop,)))
    assert whole.text != cut.text
    assert stop not in cut.text
    assert (cut.finish, cut.token_ids) == ("stop", ())


def test_streamed_pieces_join_to_the_text(teacher: LocalTeacher) -> None:
    """The pieces, in order, are the text; none ends within a character."""
    pieces: list[str] = []
    reply = teacher.complete(ask(max_tokens=40, seed=9, stop=("zzzz",)), pieces.append)
    assert "".join(pieces) == reply.text
    assert len(pieces) > 1


def test_what_cannot_be_asked_is_refused(teacher: LocalTeacher) -> None:
    """A prompt beyond the context, a broken grammar and foreign ids are refused with a sentence."""
    with pytest.raises(BadQuestionError, match="context length is 512 tokens"):
        teacher.complete(ask(LONG * 20))
    with pytest.raises(BadQuestionError, match="cannot be compiled"):
        teacher.complete(ask(grammar="start: nothing"))
    with pytest.raises(BadQuestionError, match="ids outside 0 to 262"):
        teacher.score(ScoreRequest(rows=(ScoreRow(record_id="r", ids=(1, 9999), targets=(1,)),)))


def row(record_id: str, ids: tuple[int, ...], first: int, grammar: str | None = None) -> ScoreRow:
    return ScoreRow(record_id=record_id, ids=ids, targets=tuple(range(first, len(ids))), grammar=grammar)


def test_scores_are_those_of_the_whole_distribution(folder: Path, teacher: LocalTeacher) -> None:
    """Entropy and log-probabilities agree with a plain forward pass in float64."""
    ids = tuple(TOKENIZER.encode(LONG))
    scored = teacher.score(ScoreRequest(rows=(row("r", ids, len(ids) - 20),))).rows[0].columns.decode()
    with torch.inference_mode():
        student = load_student(folder)
        log_probs_TV = student.logits(student(torch.tensor([ids])).hidden_BTH)[0].double().log_softmax(-1).numpy()
    for place in range(20):
        expected = log_probs_TV[len(ids) - 21 + place]
        assert scored.chosen_logprob_N[place] == pytest.approx(expected[ids[len(ids) - 20 + place]], rel=2e-3)
        assert scored.entropy_N[place] == pytest.approx(-(np.exp(expected) * expected).sum(), rel=2e-3)


def test_scores_of_a_row_do_not_depend_on_its_neighbours(folder: Path, teacher: LocalTeacher) -> None:
    """A row's bytes are the same alone, among others, and whether or not its context was read before."""
    ids = tuple(TOKENIZER.encode(LONG))
    assert len(ids) > 2 * BLOCK_TOKENS
    rows = (row("a", ids, len(ids) - 9), row("b", (*ids, 5, 6), len(ids)), row("c", ids[:40], 3))
    together = teacher.score(ScoreRequest(rows=rows))
    fresh = LocalTeacher(folder, threads=1)
    for place in (2, 1, 0):
        alone = fresh.score(ScoreRequest(rows=(rows[place],))).rows[0].columns
        for name in ("head_ids", "head_codes", "tail_ids", "tail_mass", "entropy", "chosen_logprob"):
            assert np.array_equal(getattr(alone, name), getattr(together.rows[place].columns, name))


def test_a_grammar_masks_the_scores(teacher: LocalTeacher) -> None:
    """Under a grammar only allowed tokens have mass, and positions with one choice are flagged."""
    context, target = TOKENIZER.encode("say "), TOKENIZER.encode('{"a": 42}')
    wanted = row("r", (*context, *target, TOKENIZER.eos_id), len(context), CALL)
    rows = teacher.score(ScoreRequest(rows=(wanted,), k=12)).rows[0].columns.decode()
    digits = {TOKENIZER.encode(str(digit))[0] for digit in range(10)}
    first_digit = len(TOKENIZER.encode('{"a": '))
    assert set(rows.head_ids_NK[first_digit][rows.head_probs_NK[first_digit] > 0]) == digits
    assert rows.is_forced_N.tolist() == [place not in (first_digit, first_digit + 1) for place in range(len(rows.is_forced_N))]
    with pytest.raises(BadQuestionError, match="do not fit its grammar"):
        teacher.score(ScoreRequest(rows=(row("r", (*context, *TOKENIZER.encode("no")), len(context), CALL),)))
