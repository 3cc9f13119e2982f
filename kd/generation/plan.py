"""The plan: every item of the data set to be, its context, its split, and the request that asks for its target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from attrs import evolve as replace
from attrs import frozen

from kd.dataset.canonical import canonical_json, structure
from kd.dataset.sample import Labels, Message
from kd.dataset.shards import Split
from kd.dataset.tools import Tool, ToolCall
from kd.generation.config import GenerationConfig
from kd.generation.contexts import card_messages, instruction_messages
from kd.generation.draws import rank
from kd.generation.prompts import instructions
from kd.generation.scenarios import Card, cards
from kd.models.grammar import tool_call_grammar
from kd.models.teacher import Sampling, TeacherIdentity, TeacherRequest, request_key

__all__ = ["Plan", "PlannedItem", "build_plan", "read_plan", "write_plan"]


@frozen(kw_only=True)
class PlannedItem:
    """One sample to be."""

    kind: Literal["plain", "tool_use"]
    split: Split
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    gold: ToolCall | None = None
    grammar: str | None = None
    """What constrains the target: in decoding and when it is scored."""
    labels: Labels
    sampling: Sampling | None
    """None where the right answer is known and the teacher is not asked."""
    key: str = ""
    """Key of the request; empty where the teacher is not asked."""

    @property
    def request(self) -> TeacherRequest:
        """What the teacher is asked."""
        assert self.sampling is not None, "nothing is asked for this item"
        return TeacherRequest(messages=self.messages, grammar=self.grammar, sampling=self.sampling)


@frozen(kw_only=True)
class Plan:
    """All items, in an order that depends on config and seed alone."""

    format: Literal["kd.plan/1"] = "kd.plan/1"
    teacher: str
    """Fingerprint of the teacher."""
    items: tuple[PlannedItem, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all requests, in order of the plan."""
        return tuple(item.key for item in self.items if item.key)


def build_plan(config: GenerationConfig, identity: TeacherIdentity, seed: int) -> Plan:
    """The plan for `config`, `identity` and `seed`; UsageError where more different items are asked for than there are."""
    items = (*_tool_items(config, seed), *_plain_items(config, seed))
    keyed = tuple(_with_key(item, identity) for item in items)
    return Plan(teacher=identity.fingerprint, items=keyed)


def write_plan(plan: Plan) -> bytes:
    """`plan` as canonical JSON."""
    return canonical_json(plan)


def read_plan(data: bytes) -> Plan:
    """The inverse of `write_plan`."""
    return structure(json.loads(data), Plan)


def _plain_items(config: GenerationConfig, seed: int) -> Sequence[PlannedItem]:
    prompts, sampling = config.prompts, config.sampling
    counts: dict[Split, int] = {"train": prompts.total - prompts.val - prompts.test, "val": prompts.val, "test": prompts.test}
    drawn = Sampling(temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens, seed=seed)
    return tuple(
        PlannedItem(
            kind="plain",
            split=instruction.split,
            messages=instruction_messages(instruction.text, style=config.tools.style),
            labels=Labels(scenario=instruction.field, index=instruction.index, seed=seed),
            sampling=drawn,
        )
        for instruction in instructions(counts, seed)
    )


def _tool_items(config: GenerationConfig, seed: int) -> Sequence[PlannedItem]:
    scenarios, tools = config.scenarios, config.tools
    made = cards(scenarios.total, seed, num_offered=tools.offered)
    splits = _splits(scenarios.total, scenarios.val, scenarios.test, seed)
    greedy = Sampling(temperature=0.0, top_p=1.0, max_tokens=tools.max_tokens, seed=seed)
    return tuple(
        PlannedItem(
            kind="tool_use",
            split=split,
            messages=card_messages(card, shots=tools.shots, style=tools.style),
            tools=card.tools,
            gold=card.gold,
            grammar=_grammar(card, tools.mode),
            labels=Labels(scenario=card.scenario, structure=card.structure, index=card.index, seed=seed),
            sampling=None if split == "test" or tools.answers == "oracle" else greedy,
        )
        for card, split in zip(made, splits, strict=True)
    )


def _grammar(card: Card, mode: Literal["schema", "grounded", "planned"]) -> str:
    return tool_call_grammar(card.tools, mode=mode, context=card.task, tool=card.gold.name if mode == "planned" else None)


def _splits(total: int, val: int, test: int, seed: int) -> tuple[Split, ...]:
    """A split for each card: the first in an order drawn by `seed` are for testing, the next for validation."""
    places = {index: place for place, index in enumerate(sorted(range(total), key=lambda index: rank(seed, "split", index)))}
    return tuple("test" if places[index] < test else "val" if places[index] < test + val else "train" for index in range(total))


def _with_key(item: PlannedItem, identity: TeacherIdentity) -> PlannedItem:
    return item if item.sampling is None else replace(item, key=request_key(identity, item.request))
