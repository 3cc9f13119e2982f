"""The library of plain instructions: topics × forms × lengths, all different, drawn without replacement.

Every topic belongs to one split, so that what is held out is new in substance and not in wording alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kd.dataset.shards import Split
from kd.errors import UsageError
from kd.generation.draws import ordered

__all__ = ["NUM_PROMPTS", "Instruction", "instructions"]

_TOPICS: dict[str, tuple[str, ...]] = {
    field: tuple(" ".join(topic.split()) for topic in topics.split(","))
    for field, topics in {
        "nature": """
            rain, the moon, a volcano, the seasons, a rainbow, the tide, bees, whales, an oak tree, a desert, a glacier,
            soil, photosynthesis, gravity, a river, wind, coral, fog""",
        "technology": """
            a battery, a compass, a telescope, a bicycle, a refrigerator, a lighthouse, a printing press, a solar panel,
            a microphone, a bridge, a clock, an elevator, a camera, a steam engine, a radio, a search engine, a
            password, a database""",
        "society": """
            a library, a market, a museum, a vote, a budget, a contract, a recipe, a map, a calendar, a post office, a
            school, a law, insurance, a bank, a newspaper, a holiday, a city park, public transport""",
        "language": """
            a metaphor, an adjective, a question mark, a poem, a dictionary, a translation, an alphabet, a proverb, a
            summary, a diary, a riddle, a synonym, a letter, a speech, a legend, a headline, a paragraph, a rhyme""",
        "health": """
            sleep, breakfast, a vaccine, exercise, clean water, sunlight, stretching, laughter, vitamins, a good breath,
            washing hands, a walk, the heart, the skin, teeth, bones, patience, friendship""",
    }.items()
}

_FORMS: tuple[str, ...] = (
    "Explain {topic} to a child.",
    "Say why people care about {topic}.",
    "Give one fact about {topic}.",
    "Describe {topic}.",
    "Write a title for a text about {topic}.",
    "Name one thing that people get wrong about {topic}.",
    "What would be different without {topic}?",
    "Compare {topic} to something from a kitchen.",
)

_LENGTHS: tuple[str, ...] = ("Answer in one sentence.", "Use at most 15 words.", "Be brief.", "Answer in a short phrase.")

NUM_PROMPTS = sum(map(len, _TOPICS.values())) * len(_FORMS) * len(_LENGTHS)
"""Different instructions in the library."""


@frozen(kw_only=True)
class Instruction:
    """One plain instruction."""

    index: int
    """Place among the instructions of its data set."""
    text: str
    topic: str
    field: str
    """`nature`, `technology` …"""
    split: Split


def instructions(counts: Mapping[Split, int], seed: int) -> tuple[Instruction, ...]:
    """`counts[split]` instructions for each split, no topic in two; UsageError if the library holds too few."""
    fields = {topic: field for field, topics in _TOPICS.items() for topic in topics}
    topics = list(ordered(tuple(fields), seed, "topics"))
    total = sum(counts.values())
    found: list[Instruction] = []
    for split in sorted(counts, key=lambda split: counts[split]):
        share = -(-counts[split] * len(fields) // max(total, 1))
        own, topics = (topics[:share], topics[share:]) if counts[split] * 2 <= total else (topics, [])
        texts = {f"{form.format(topic=topic)} {length}": topic for topic in own for form in _FORMS for length in _LENGTHS}
        if len(texts) < counts[split]:
            raise UsageError(
                f"{total} plain instructions were asked for, {counts[split]} of them for {split}, and the library holds"
                f" {len(texts)} for that split of {NUM_PROMPTS} in all: lower prompts.total."
            )
        chosen = ordered(tuple(texts), seed, "prompts")[: counts[split]]
        found += [
            Instruction(index=place, text=text, topic=texts[text], field=fields[texts[text]], split=split)
            for place, text in enumerate(chosen, len(found))
        ]
    return tuple(found)
