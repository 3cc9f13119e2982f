"""The scenario generator: tool cards whose right call is known.

Item i is a function of (seed, i) alone. The tools take turns, and for each tool a walk through all combinations of its
arguments meets none twice, so no two items share a task or its arguments. Every text argument stands word for word in the task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import frozen

from kd.dataset.tools import Tool, ToolCall
from kd.errors import UsageError
from kd.generation.draws import Draws, ordered, visited
from kd.tool_use.registry import SHIPPED_TOOLS, shipped_tool

__all__ = ["EXAMPLES", "Card", "Example", "cards"]


@frozen(kw_only=True)
class Card:
    """A task, the tools on offer, and the one right call."""

    index: int
    task: str
    tools: tuple[Tool, ...]
    gold: ToolCall
    scenario: str
    structure: str


@frozen(kw_only=True)
class Example:
    """A worked example for the context; its values occur in no card."""

    task: str
    call: ToolCall


@frozen(kw_only=True)
class _Template:
    scenario: str
    structure: str
    phrases: tuple[str, ...]
    arguments: Mapping[str, str | tuple[str, ...]]
    """Argument → text with `{slot}`s; a tuple makes a list; `#` before a slot makes it a number."""
    slots: Mapping[str, tuple[str, ...]]

    @property
    def num_combinations(self) -> int:
        return math.prod(map(len, self.slots.values()))

    def values(self, combination: int) -> dict[str, str]:
        values = {}
        for slot, options in sorted(self.slots.items()):
            combination, place = divmod(combination, len(options))
            values[slot] = options[place]
        return values

    def call(self, tool: str, values: Mapping[str, str]) -> ToolCall:
        return ToolCall(name=tool, arguments={name: _filled(text, values) for name, text in sorted(self.arguments.items())})


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FOLDERS = ("docs", "notes", "src", "logs", "data", "home", "work", "music")
_STEMS = _words("plan report draft index budget invoice letter agenda poem lesson recipe contract survey menu diary sketch")
_ENDINGS = ("txt", "md", "csv", "py")
_CITIES = _words("Oslo Paris Rome Lima Cairo Berlin Tokyo Madrid Dublin Vienna Athens Boston Delhi Lisbon Prague Quito")
_PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo")

_TEMPLATES: dict[str, _Template] = {
    "read_file": _Template(
        scenario="file_ops",
        structure="flat",
        phrases=(
            "Show me {folder}/{stem}.{ending} please.",
            "What is in {folder}/{stem}.{ending} now?",
            "Open {folder}/{stem}.{ending} for me.",
        ),
        arguments={"path": "{folder}/{stem}.{ending}"},
        slots={"folder": _FOLDERS, "stem": _STEMS[:8], "ending": _ENDINGS},
    ),
    "delete_file": _Template(
        scenario="file_ops",
        structure="flat",
        phrases=(
            "Delete {folder}/{stem}.{ending} please.",
            "Remove {folder}/{stem}.{ending} for me.",
            "Erase {folder}/{stem}.{ending} now.",
        ),
        arguments={"path": "{folder}/{stem}.{ending}"},
        slots={"folder": _FOLDERS, "stem": _STEMS[8:], "ending": _ENDINGS},
    ),
    "move_file": _Template(
        scenario="file_ops",
        structure="flat",
        phrases=("Move {stem}.{ending} to {folder} please.", "Put {stem}.{ending} into {folder} for me."),
        arguments={"source": "{stem}.{ending}", "target": "{folder}"},
        slots={"folder": _FOLDERS, "stem": _STEMS, "ending": _ENDINGS},
    ),
    "web_search": _Template(
        scenario="web_search",
        structure="flat",
        phrases=("Search the web for {what} in {city}.", "Find {what} in {city} on the web."),
        arguments={"query": "{what} in {city}"},
        slots={
            "what": (
                "cheap hotels",
                "art museums",
                "good bakeries",
                "used bikes",
                "quiet parks",
                "book shops",
                "night trains",
                "piano lessons",
            ),
            "city": _CITIES,
        },
    ),
    "get_weather": _Template(
        scenario="web_search",
        structure="enum",
        phrases=("What is the weather in {city} {day}?", "Will it rain in {city} {day}?", "How warm is {city} {day}?"),
        arguments={"city": "{city}", "day": "{day}"},
        slots={
            "city": (*_CITIES, "Tunis", "Havana", "Zurich", "Seoul", "Perth", "Milan", "Accra", "Kyoto", "Porto", "Riga", "Split", "Turin"),
            "day": ("today", "tomorrow"),
        },
    ),
    "run_code": _Template(
        scenario="code_exec",
        structure="enum",
        phrases=("Run {left} {sign} {right} in {language}.", "Use {language} to work out {left} {sign} {right}."),
        arguments={"code": "{left} {sign} {right}", "language": "{language}"},
        slots={
            "left": ("12", "35", "48", "64", "77", "91", "106", "250"),
            "sign": ("+", "-", "*"),
            "right": ("3", "8", "17", "29"),
            "language": ("python", "bash", "ruby"),
        },
    ),
    "send_message": _Template(
        scenario="messages",
        structure="flat",
        phrases=("Send {person} this text: {what} {when}", "Message {person}: {what} {when}"),
        arguments={"text": "{what} {when}", "to": "{person}"},
        slots={
            "person": _PEOPLE,
            "what": ("dinner is", "the meeting is", "practice starts", "the train leaves", "we meet", "the call is"),
            "when": ("at six", "at noon", "on Monday", "next week"),
        },
    ),
    "set_timer": _Template(
        scenario="planning",
        structure="number",
        phrases=("Start a {minutes} minute timer for {label}.", "I need a {minutes} minute timer for {label}."),
        arguments={"label": "{label}", "minutes": "#{minutes}"},
        slots={
            "label": ("pasta", "tea", "laundry", "yoga", "cake", "reading", "chess", "bread", "homework", "soup"),
            "minutes": ("4", "7", "9", "12", "15", "18", "25", "35", "40", "55"),
        },
    ),
    "tag_note": _Template(
        scenario="planning",
        structure="array",
        phrases=("Tag the note {note} with {first} and {second}.", "Add the tags {first} and {second} to the note {note}."),
        arguments={"note": "{note}", "tags": ("{first}", "{second}")},
        slots={
            "note": ("garden", "holiday", "shopping", "rent", "birthday", "car", "doctor", "school"),
            "first": ("urgent", "home", "later", "money"),
            "second": ("family", "check", "weekend", "idea"),
        },
    ),
    "translate": _Template(
        scenario="messages",
        structure="enum",
        phrases=("Translate into {language}: {what} {rest}", "How do you say this in {language}: {what} {rest}"),
        arguments={"language": "{language}", "text": "{what} {rest}"},
        slots={
            "what": ("where is", "I like", "we need", "show me", "this is", "I lost"),
            "rest": ("the station", "a new ticket", "the old bridge", "my bag", "your garden", "the key"),
            "language": ("French", "German", "Spanish"),
        },
    ),
}

EXAMPLES: Mapping[str, Example] = {
    name: Example(task=task, call=ToolCall(name=name, arguments=arguments))
    for name, task, arguments in (
        ("read_file", "Show me etc/hosts.conf please.", {"path": "etc/hosts.conf"}),
        ("delete_file", "Delete tmp/old.bak please.", {"path": "tmp/old.bak"}),
        ("move_file", "Move photo.png to albums please.", {"source": "photo.png", "target": "albums"}),
        ("web_search", "Search the web for blue shoes in Kiel.", {"query": "blue shoes in Kiel"}),
        ("get_weather", "What is the weather in Bern today?", {"city": "Bern", "day": "today"}),
        ("run_code", "Run 2 + 2 in bash.", {"code": "2 + 2", "language": "bash"}),
        ("send_message", "Message Olga: I am late", {"text": "I am late", "to": "Olga"}),
        ("set_timer", "Start a 5 minute timer for eggs.", {"label": "eggs", "minutes": 5}),
        ("tag_note", "Tag the note taxes with paper and spring.", {"note": "taxes", "tags": ["paper", "spring"]}),
        ("translate", "Translate into German: good morning", {"language": "German", "text": "good morning"}),
    )
}
"""One worked example for each shipped tool."""


def cards(count: int, seed: int, *, num_offered: int) -> tuple[Card, ...]:
    """Cards 0 to `count` − 1 of `seed`, each with `num_offered` tools; UsageError if some tool has too few combinations."""
    names = ordered(tuple(_TEMPLATES), seed, "turns")
    return tuple(_card(index, seed, names[index % len(names)], num_offered) for index in range(count))


def _card(index: int, seed: int, name: str, num_offered: int) -> Card:
    draws = Draws(seed, index)
    turn = index // len(_TEMPLATES)
    template = _TEMPLATES[name]
    if turn >= template.num_combinations:
        limit = min(template.num_combinations for template in _TEMPLATES.values()) * len(SHIPPED_TOOLS)
        raise UsageError(f"Card {index} would repeat the arguments of {name}: set scenarios.total to at most {limit}.")
    values = template.values(visited(template.num_combinations, turn, seed, name))
    others = draws.sample([tool for tool in SHIPPED_TOOLS if tool.name != name], num_offered - 1, "others")
    return Card(
        index=index,
        task=draws.choice(template.phrases, "phrase").format(**values),
        tools=draws.sample((shipped_tool(name), *others), num_offered, "offered"),
        gold=template.call(name, values),
        scenario=template.scenario,
        structure=template.structure,
    )


def _filled(text: str | tuple[str, ...], values: Mapping[str, str]) -> object:
    if isinstance(text, tuple):
        return [part.format(**values) for part in text]
    return int(text[1:].format(**values)) if text.startswith("#") else text.format(**values)
