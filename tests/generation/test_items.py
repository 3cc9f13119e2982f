"""Instructions and cards: pure functions of their seed, never repeated, and held out in substance."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.dataset.tools import call_text
from kd.errors import UsageError
from kd.generation.contexts import card_messages
from kd.generation.draws import Draws, ordered, visited
from kd.generation.prompts import NUM_PROMPTS, instructions
from kd.generation.scenarios import EXAMPLES, cards
from kd.tool_use.registry import SHIPPED_TOOLS, shipped_tool
from kd.tool_use.validity import call_is_valid

SEEDS = st.integers(min_value=0, max_value=2**40)


@settings(max_examples=5)
@given(seed=SEEDS)
def test_instructions_are_distinct_and_no_topic_is_in_two_splits(seed: int) -> None:
    """What is held out is new in substance: its topics occur in no other split."""
    found = instructions({"train": 30, "val": 4, "test": 6}, seed)
    assert len({one.text for one in found}) == 40
    topics = {split: {one.topic for one in found if one.split == split} for split in ("train", "val", "test")}
    assert not topics["train"] & topics["test"]
    assert not topics["train"] & topics["val"]
    assert not topics["val"] & topics["test"]
    assert found == instructions({"train": 30, "val": 4, "test": 6}, seed)
    assert [one.index for one in found] == list(range(40))


def test_the_library_holds_two_thousand_instructions() -> None:
    """A large data set does not run out of wordings, and one that is too large is refused."""
    assert NUM_PROMPTS >= 2000
    found = instructions({"train": 2000, "val": 100, "test": 100}, 1)
    assert len({one.text for one in found}) == 2200
    with pytest.raises(UsageError, match=str(NUM_PROMPTS)):
        instructions({"train": NUM_PROMPTS + 1}, 1)


@settings(max_examples=10)
@given(seed=SEEDS, count=st.integers(min_value=1, max_value=60))
def test_a_card_depends_on_seed_and_index_alone(seed: int, count: int) -> None:
    """More cards begin with the same cards, so a data set can grow."""
    assert cards(60, seed, num_offered=3)[:count] == cards(count, seed, num_offered=3)


@settings(max_examples=3)
@given(seed=SEEDS)
def test_no_two_cards_share_task_or_arguments(seed: int) -> None:
    """A card that is held out was asked nowhere else, nor shown as an example."""
    made = cards(400, seed, num_offered=3)
    assert len({card.task for card in made}) == len({call_text(card.gold) for card in made}) == 400
    assert not {card.task for card in made} & {example.task for example in EXAMPLES.values()}


def test_gold_is_valid_offered_and_grounded_in_the_task() -> None:
    """The right call fits an offered tool, and every text in it stands in the task."""
    for card in cards(300, 7, num_offered=4):
        assert call_is_valid(card.gold, card.tools)
        assert len({tool.name for tool in card.tools}) == 4
        for value in card.gold.arguments.values():
            texts = value if isinstance(value, list) else [str(value)]
            assert all(text in card.task for text in texts), card


def test_all_tools_take_turns() -> None:
    """Any run of ten cards calls ten tools, so a small data set sees them all."""
    assert {card.gold.name for card in cards(len(SHIPPED_TOOLS), 3, num_offered=3)} == {tool.name for tool in SHIPPED_TOOLS}
    assert len({card.structure for card in cards(10, 3, num_offered=3)}) >= 4


def test_examples_are_valid_calls() -> None:
    """What a context shows as right is right."""
    assert set(EXAMPLES) == {tool.name for tool in SHIPPED_TOOLS}
    assert all(call_is_valid(example.call, [shipped_tool(name)]) for name, example in EXAMPLES.items())


def test_too_many_cards_are_refused() -> None:
    """Where arguments would repeat the generator says how many there are."""
    with pytest.raises(UsageError, match="at most"):
        cards(100_000, 1, num_offered=3)


@pytest.mark.parametrize("shots", [0, 3, 5])
def test_a_context_shows_tools_examples_and_task(shots: int) -> None:
    """A system message, so many worked examples, the task last; the task's own answer is nowhere."""
    card = cards(1, 1, num_offered=3)[0]
    messages = card_messages(card, shots=shots, style="plain")
    assert [message.role for message in messages] == ["system", *["user", "assistant"] * shots, "user"]
    assert all(tool.name in messages[0].content for tool in card.tools)
    assert messages[-1].content == card.task
    assert call_text(card.gold) not in "".join(message.content for message in messages)


@settings(max_examples=40)
@given(size=st.integers(min_value=1, max_value=200), seed=SEEDS)
def test_a_walk_meets_every_place_once(size: int, seed: int) -> None:
    """Within `size` steps no place comes twice, so arguments are drawn without replacement."""
    assert sorted(visited(size, step, seed, "walk") for step in range(size)) == list(range(size))


@settings(max_examples=20)
@given(seed=SEEDS)
def test_draws_are_permutations_and_choices(seed: int) -> None:
    """An order keeps all options, a sample repeats none, equal arguments draw equally."""
    options = tuple(range(12))
    assert sorted(ordered(options, seed, "x")) == list(options)
    assert len(set(Draws(seed, 1).sample(options, 5, "y"))) == 5
    assert Draws(seed, 1).choice(options, "z") == Draws(seed, 1).choice(options, "z")
    assert 0 <= Draws(seed, 2).below(3, "w") < 3
