"""The teacher's distributions over the supervised tokens of samples, captured range by range."""

from __future__ import annotations

import time

import numpy as np
from attrs import frozen

from kd.dataset.sample import Sample
from kd.generation.config import LogitsConfig
from kd.generation.events import LogitsCaptured
from kd.models.hybrid_columns import columns_to_bytes
from kd.models.rendering import SampleTokenizer, tokenise_sample
from kd.models.teacher import ScoredRow, ScoredTokens, ScoreRequest, ScoreRow, Teacher
from kd.ports import Ports
from kd.stage import Tell, Wish

__all__ = ["Range", "capture", "score_row"]


@frozen(kw_only=True)
class Range:
    """Samples that are scored together, `first` being the place of the first in the order of ids."""

    first: int
    samples: tuple[Sample, ...]


async def capture(
    part: Range, teacher: Teacher, tokenizer: SampleTokenizer, logits: LogitsConfig, seed: int, ports: Ports, tell: Tell
) -> LogitsCaptured | None:
    """The distributions over the samples of `part`, stored as a blob; None if the run wants to stop at once."""
    started = time.monotonic()
    scored: list[ScoredRow] = []
    for sample in part.samples:
        if await tell.awaitable() is Wish.STOP_NOW:
            return None
        request = ScoreRequest(rows=(score_row(tokenizer, sample),), k=logits.k, s=logits.s, seed=seed)
        scored += (await teacher.score(request)).rows
    return _captured(part.first, ScoredTokens(rows=tuple(scored)), logits, time.monotonic() - started, ports)


def score_row(tokenizer: SampleTokenizer, sample: Sample) -> ScoreRow:
    """What the teacher is asked about `sample`: its supervised targets, under the grammar that constrains them."""
    tokenised = tokenise_sample(tokenizer, sample)
    return ScoreRow(record_id=sample.id, ids=tokenised.ids, targets=tokenised.supervised_positions, grammar=sample.decoding.grammar or None)


def _captured(first: int, scored: ScoredTokens, logits: LogitsConfig, seconds: float, ports: Ports) -> LogitsCaptured:
    ids = tuple(row.record_id for row in scored.rows)
    columns = tuple(row.columns for row in scored.rows)
    forced = np.concatenate([part.is_forced for part in columns]).astype(bool)
    mass = np.concatenate([part.tail_mass for part in columns]).astype(np.float64)[~forced]
    data = columns_to_bytes(ids, columns, k=logits.k, s=logits.s)
    return LogitsCaptured(
        first=first,
        num_samples=len(ids),
        columns=ports.keep_bytes(data),
        num_tokens=len(forced),
        num_forced_tokens=int(forced.sum()),
        bytes_per_token=float(columns[0].bytes_per_token),
        mean_tail_mass=float(mass.mean()) if len(mass) else 0.0,
        seconds=seconds,
    )
