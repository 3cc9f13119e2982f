"""Samples and requests as rows: what each is, what became of it, and how many there are of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from kd.views.dataset_sample import PlannedPrompt, RequestRow, SampleTable
from kd.views.safe_text import safe_text
from kd.views.sample_text import SampleHead, context_digest
from tui.feed.samples import SampleIndex
from tui.themes import UNICODE, Glyphs
from tui.widgets.figures import span
from tui.widgets.painting import Pieces
from tui.widgets.row_list import Column
from tui.widgets.sample_counts import bars_of, counted
from tui.widgets.transcript import Block

__all__ = ["SAMPLE_COLUMNS", "SampleRow", "asked_line", "attempts_block", "count_lines", "sample_cells", "sample_rows"]

SAMPLE_COLUMNS = (
    Column("sample", 12, grows=True),
    Column("split", 5),
    Column("kind", 8, rank=3),
    Column("scenario", 10, rank=1),
    Column("tools", 5, is_right=True, rank=4),
    Column("chars", 6, is_right=True, rank=2),
    Column("decision", 12),
)
_DECISIONS = {
    "open": ("waiting", "open", "muted"),
    "asking": ("running", "asking", "accent"),
    "answered": ("done", "answered", "good"),
    "reused": ("done", "reused", "good"),
    "rejected": ("failed", "rejected", "bad"),
}


@frozen(kw_only=True)
class SampleRow:
    """A sample, or a request that has become none, or none yet."""

    head: SampleHead | None = None
    request: RequestRow | None = None
    prompt: PlannedPrompt | None = None
    decision: str
    """`kept`: the teacher's own words; `corrected`: it was asked, and the right call is learnt instead; `known`: it was not asked;
    or the decision on the request."""
    is_left_out: bool = False
    """It was answered, and became no sample of its own."""

    @property
    def key(self) -> str:
        return self.head.id if self.head is not None else self.request.key if self.request is not None else ""

    @property
    def searched(self) -> str:
        about = self.head or self.prompt
        facts = (
            ""
            if about is None
            else f"{about.split} {about.kind} {about.scenario} {' '.join(about.tools)} split:{about.split} kind:{about.kind}"
        )
        reason = "" if self.request is None or not self.request.kind else f"reason:{self.request.kind} {self.request.reason}"
        left_out = "left out" if self.is_left_out else ""
        return f"{self.key} {facts} {self.decision} {reason} {left_out}".casefold()


def sample_rows(table: SampleTable, index: SampleIndex | None, prompts: Mapping[str, PlannedPrompt]) -> Iterator[SampleRow]:
    """Samples in their order, then the requests without one; before there are samples, all requests."""
    requests = {row.key: row for row in table.rows()}
    if index is None:
        yield from (SampleRow(request=row, prompt=prompts.get(row.key), decision=row.decision) for row in requests.values())
        return
    replied = {head.request_key for head in index.heads}
    asked = {context_digest(prompt.messages): key for key, prompt in prompts.items() if key not in replied}
    for head in index.heads:
        key = head.request_key or asked.get(head.context, "")
        decision = "kept" if head.request_key else "corrected" if key else "known"
        yield SampleRow(head=head, request=requests.pop(key, None), decision=decision)
    for row in requests.values():
        is_left_out = row.decision in {"answered", "reused"}
        yield SampleRow(request=row, prompt=prompts.get(row.key), decision=row.decision, is_left_out=is_left_out)


def sample_cells(row: SampleRow, glyphs: Glyphs) -> Sequence[Pieces]:
    about = row.head or row.prompt
    num_tools = None if about is None else len(about.tools)
    return (
        ((safe_text(row.key[:14] if row.head is not None else f"? {row.key[:10]}"), "text"),),
        (("" if about is None else safe_text(about.split), "muted"),),
        (("" if about is None else safe_text(about.kind), "muted"),),
        (("" if about is None else safe_text(about.scenario), "text"),),
        (("" if num_tools is None else f"{num_tools}", "muted"),),
        (("" if row.head is None else f"{row.head.num_target_characters:,}", "muted"),),
        (_decision(row, glyphs),),
    )


def _decision(row: SampleRow, glyphs: Glyphs) -> tuple[str, str]:
    if row.head is not None:
        word, tone = {"kept": ("teacher", "good"), "corrected": ("corrected", "warn"), "known": ("known", "accent")}[row.decision]
        return f"{glyphs.done} {word}", tone
    if row.is_left_out:
        return f"{glyphs.failed} not used", "warn"
    glyph, word, tone = _DECISIONS[row.decision]
    kind = row.request.kind if row.request is not None else ""
    return f"{getattr(glyphs, glyph)} {safe_text(kind.replace('_', ' ')) or word}", tone


def asked_line(table: SampleTable | None, glyphs: Glyphs) -> Iterator[Pieces]:
    if table is None or not len(table.keys):
        yield ((f"{glyphs.waiting} nothing was asked yet", "bold muted"),)
        return
    num_requests = sum(len(part) for part in table.keys)
    is_done = table.num_open == 0
    yield (
        (
            f"{glyphs.done if is_done else glyphs.running} {table.num_answered:,} of {num_requests:,} requests answered",
            f"bold {'good' if is_done else 'accent'}",
        ),
        (f"   {table.num_rejected:,} rejected", "bad" if table.num_rejected else "muted"),
        *(((f"   {table.num_open:,} open", "accent"),) if table.num_open else ()),
        *_right_calls(table),
        *(((f"   {table.num_scored:,} scored", "muted"),) if table.num_scored else ()),
        *(((f"   sealed as {table.sealed.dataset.digest[:12]}{glyphs.ellipsis}", "muted"),) if table.sealed is not None else ()),
    )


def _right_calls(table: SampleTable) -> Pieces:
    built = table.built
    if built is None or not built.num_asked_calls:
        return ()
    return ((f"   {built.num_right_calls:,} of {built.num_asked_calls:,} calls of the teacher right", "muted"),)


def count_lines(table: SampleTable | None, heads: Sequence[SampleHead], glyphs: Glyphs) -> Iterator[Pieces]:
    if table is None:
        return
    built = table.built
    left_out = {} if built is None else built.dropped
    if table.num_rejected:
        yield (("rejected  ", "muted"), *counted(table.rejections(), glyphs))
    if built is not None:
        yield (("left out  ", "muted"), *(counted(left_out, glyphs) if left_out else (("none", "good"),)))
        yield (("samples   ", "muted"), *counted(built.counts, glyphs))
    if heads:
        yield (("scenarios ", "muted"), *counted(Counter(head.scenario for head in heads), glyphs))
        offered = Counter(tool for head in heads for tool in head.tools)
        if offered:
            yield (("tools     ", "muted"), *counted(offered, glyphs))
        yield (("lengths   ", "muted"), *bars_of([head.num_target_characters for head in heads], glyphs))


def attempts_block(row: RequestRow) -> Block:
    usage = "" if row.usage is None else f", {row.usage.prompt_tokens:,} tokens asked, {row.usage.output_tokens:,} answered"
    sends = "" if row.num_sends == row.num_attempts else f", sent {row.num_sends} times"
    plural = "" if row.num_attempts == 1 else "s"
    lines = [f"{row.num_attempts} attempt{plural}{sends}, {span(row.seconds)}{usage}"]
    if row.decision == "reused":
        lines = ["reused: the ledger held this reply already, nothing was sent"]
    if row.reason:
        lines.append(f"{row.kind}: {row.reason}")
    if row.position is not None:
        lines.append(f"newest record @{row.position:,}; o shows it")
    return Block(title="REQUEST", note=f"{row.key[:16]}{UNICODE.ellipsis}", lines=tuple(((safe_text(line), "text"),) for line in lines))
