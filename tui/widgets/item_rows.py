"""Items of an evaluation as rows, and their answers to read: one arm beside another, or a run beside its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from attrs import frozen

from kd.views.eval_table import EvalTable, Flips, Item, flips, is_right
from kd.views.item_transcript import ItemTranscript, differing_parts
from kd.views.safe_text import safe_text
from tui.feed.details import Absent
from tui.themes import UNICODE, Glyphs
from tui.widgets.item_figures import has_success, item_value, scores_of, sparkline
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column
from tui.widgets.transcript import Block

__all__ = [
    "BOTH",
    "ArmSide",
    "ItemPair",
    "answer_blocks",
    "headline",
    "item_cells",
    "item_columns",
    "item_pairs",
    "marked_texts",
    "searched",
    "side_flips",
]

BOTH = 2
"""Sides of a comparison."""


@frozen(kw_only=True)
class ItemPair:
    """An item as this arm answered it, and as the other side did."""

    item: Item
    other: Item | None = None
    change: Literal["better", "worse", ""] = ""


@frozen(kw_only=True)
class ArmSide:
    """The answers of one arm of one run."""

    name: str
    table: EvalTable
    suite: str
    arm: str

    def items(self) -> tuple[Item, ...]:
        return self.table.items_of(self.suite, self.arm)


def side_flips(sides: Sequence[ArmSide], name: str) -> Flips | None:
    return flips(sides[0].items(), sides[1].items(), name) if len(sides) == BOTH else None


def item_pairs(sides: Sequence[ArmSide], found: Flips | None) -> tuple[ItemPair, ...]:
    if not sides:
        return ()
    others = {item.event.item_id: item for item in sides[0].items()} if len(sides) == BOTH else {}
    changes: dict[str, Literal["better", "worse", ""]] = {} if found is None else {flip.item_id: flip.change for flip in found.flips}
    return tuple(
        ItemPair(item=item, other=others.get(item.event.item_id), change=changes.get(item.event.item_id, "")) for item in sides[-1].items()
    )


def searched(pair: ItemPair, name: str) -> str:
    right = is_right(pair.item, name) if has_success(name) else None
    word = {True: "right", False: "wrong", None: ""}[right]
    return f"{pair.item.event.item_id} {pair.item.event.outcome} {pair.change} {word}".casefold()


def headline(sides: Sequence[ArmSide], metric: str, found: Flips | None, num_shown: int, num_all: int, glyphs: Glyphs) -> Pieces:
    if not sides:
        return (("items", "bold text"),)
    this = sides[-1]
    pieces: list[tuple[str, str]] = [(safe_text(f"{this.suite} / {this.arm}"), "bold text"), (f"  {safe_text(metric)}", "muted")]
    if num_shown != num_all:
        pieces.append((f"   {num_shown:,} of {num_all:,} items", "accent"))
    if found is not None:
        pieces += [
            (f"   flips {safe_text(sides[0].name)} to {safe_text(this.name)}: ", "muted"),
            (f"{found.num_better} {glyphs.done} better", "good" if found.num_better else "muted"),
            (f"  {found.num_worse} {glyphs.failed} worse", "bad" if found.num_worse else "muted"),
            (f"  {found.num_same} same", "muted"),
            (f"  {found.num_errors} errors" if found.num_errors else "", "warn"),
            (f"  {found.num_unpaired} on one side only" if found.num_unpaired else "", "warn"),
        ]
    return pieces


def item_columns(names: Sequence[str]) -> tuple[Column, ...]:
    sides = tuple(Column(name, min(max(len(name), 8), 11), is_right=True, rank=number) for number, name in enumerate(names))
    return (Column("item", 9, grows=True), *sides, Column("", 8, rank=2), Column("outcome", 9, rank=3))


def item_cells(pair: ItemPair, metric: str, glyphs: Glyphs) -> Sequence[Pieces]:
    event = pair.item.event
    change: tuple[str, str] = {
        "better": (f"{glyphs.done} better", "good"),
        "worse": (f"{glyphs.failed} worse", "bad"),
        "": ("", "muted"),
    }[pair.change]
    values: list[Pieces] = [(item_value(pair.item, metric, glyphs),)]
    values.append(((glyphs.dash, "muted"),) if pair.other is None else (item_value(pair.other, metric, glyphs),))
    outcome = (event.outcome.replace("_", " "), "bad" if pair.item.is_error else "warn" if event.outcome == "truncated" else "muted")
    return ((_short_id(event.item_id),), *values, (change,), (outcome,))


def _short_id(item_id: str) -> tuple[str, str]:
    number, _, sample = item_id.rpartition("/")
    return safe_text(f"{number}/{sample[:10]}" if number else sample[:14]), "text"


def marked_texts(said: Sequence[object]) -> Iterator[tuple[Pieces, ...]]:
    """Both texts, with what only one of them has underlined."""
    one, other = ("\n".join(each.text) for each in said if isinstance(each, ItemTranscript))
    for parts, tone in zip(differing_parts(one, other), ("bold underline warn", "bold underline accent"), strict=True):
        lines: list[list[tuple[str, str]]] = [[]]
        for part in parts:
            first, *rest = part.text.split("␊")
            lines[-1].append((first, "text" if part.is_shared else tone))
            lines += [[(piece, "text" if part.is_shared else tone)] for piece in rest]
        yield tuple(lines)


def answer_blocks(side: ArmSide, item: Item | None, said: object, text: tuple[Pieces, ...], glyphs: Glyphs) -> tuple[Block, ...]:
    title = safe_text(side.name.upper())
    if item is None:
        return (Block(title=title, note="did not answer this item"),)
    scores = Block(title="SCORES", lines=tuple(scores_of(item, glyphs)))
    if not isinstance(said, ItemTranscript):
        note = safe_text(said.sentence) if isinstance(said, Absent) else f"reading{UNICODE.ellipsis}"
        return (Block(title=title, note=note), scores)
    calls = (
        f"{len(said.calls)} call{'' if len(said.calls) == 1 else 's'}" + (f", {said.num_malformed} malformed" if said.num_malformed else "")
        if said.has_text
        else ""
    )
    answer = Block(title=title, note=calls, tone="accent", lines=text or ((("(no text)", "muted"),),) if said.has_text else ())
    figures = Block(title="FIGURES", lines=tuple(((f"{name:<15} ", "muted"), (value, "text")) for name, value in said.facts))
    series = tuple(Block(title=name.upper(), lines=tuple(sparkline(values, glyphs))) for name, values in said.series if values)
    return (answer, *(block for block in (scores, *series, figures) if block.lines))
