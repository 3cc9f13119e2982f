"""Rows, the plan of which step sees which of them, and batches as tensors.

Targets are shifted once: the hidden state at i predicts token i + 1. Prompt tokens are never targets; the end of an answer is
one. Step s sees the rows at positions starts[s − 1] … starts[s] of the sampler, as many as fit in `batch_tokens`; how a step is
cut into micro-batches changes nothing but memory and speed.

Legend: B rows, T tokens, N targets of a micro-batch, J ids of a sparse teacher distribution.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from attrs import evolve as replace
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from kd.dataset.sample import Sample
from kd.models.logit_store import SignalStore
from kd.models.rendering import tokenise_sample
from kd.models.tokenizer import ChatTokenizer
from kd.training.losses import SparseTarget
from kd.training.sampler import row_at

__all__ = ["TERMS", "MicroBatch", "Plan", "Row", "StepBatch", "make_batch", "micro_batches", "plan_steps", "read_rows"]

TERMS = ("kd", "ce_teacher", "ce_truth")
"""Terms of the loss."""


@frozen(kw_only=True, eq=False)
class Row:
    """A sample ready to learn from."""

    sample_id: str
    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    """Indices into `ids` of what is to be predicted."""
    is_teachers: bool
    """The teacher wrote the targets; otherwise they are known to be right."""
    signal: _Signal | None
    """The teacher's distribution at each target, where it is stored."""

    def num_tokens(self, term: str) -> int:
        """Targets that the loss's `term` counts."""
        if term == "kd":
            return 0 if self.signal is None else int(self.signal.is_free_N.sum())
        return len(self.targets) if self.is_teachers == (term == "ce_teacher") else 0


@frozen(kw_only=True, eq=False)
class _Signal:
    ids_NJ: NDArray[np.int64]
    probs_NJ: NDArray[np.float32]
    entropy_N: NDArray[np.float32]
    is_free_N: NDArray[np.bool_]
    """False where the grammar allowed one token alone: there is nothing to imitate."""


@frozen(kw_only=True)
class Plan:
    """Which rows each step sees."""

    num_rows: int
    seed: int
    starts: tuple[int, ...]
    """Position of the first row of each step, and of the step after the last."""

    def rows_of(self, step: int) -> tuple[int, ...]:
        """Indices of the rows of `step`, counted from 1, in the order of the sampler."""
        return tuple(row_at(position, self.num_rows, self.seed) for position in range(self.starts[step - 1], self.starts[step]))


@frozen(kw_only=True, eq=False)
class MicroBatch:
    """Rows of one forward pass, padded on the right, where causality keeps the padding out of every target."""

    ids_BT: Tensor
    place_N: Tensor
    """Flat index, into `[B · T]`, of the hidden state that predicts each target."""
    target_N: Tensor
    masks: dict[str, Tensor]
    """For each term of the loss, 1 where it counts the target."""
    signal: SparseTarget

    def at(self, places: Tensor) -> MicroBatch:
        """The same rows with the targets at `places` alone."""
        masks = {term: mask_N[places] for term, mask_N in self.masks.items()}
        return replace(self, place_N=self.place_N[places], target_N=self.target_N[places], masks=masks, signal=self.signal.at(places))


@frozen(kw_only=True, eq=False)
class StepBatch:
    """All of one step."""

    parts: tuple[MicroBatch, ...]
    num_tokens: int
    """Without padding."""
    num_padded: int
    num_term_tokens: dict[str, int]
    digest: str


def read_rows(
    samples: Iterable[Sample], tokenizer: ChatTokenizer, store: SignalStore | None, *, length: int
) -> tuple[tuple[Row, ...], dict[str, int]]:
    """Rows in the order of `samples`, and how many were left out, by reason."""
    rows, dropped = [], Counter[str]()
    for sample in samples:
        tokens = tokenise_sample(tokenizer, sample)
        targets = [index for index, flag in enumerate(tokens.is_supervised) if flag]
        if len(tokens.ids) > length:
            dropped["too_long"] += 1
        elif not targets:
            dropped["no_target"] += 1
        else:
            signal = None if store is None else _signal(store, sample.id, tokens.ids)
            rows.append(
                Row(
                    sample_id=sample.id,
                    ids=np.asarray(tokens.ids, dtype=np.int64),
                    targets=np.asarray(targets, dtype=np.int64),
                    is_teachers=sample.source.origin == "teacher",
                    signal=signal,
                )
            )
    return tuple(rows), dict(sorted(dropped.items()))


def plan_steps(lengths: Sequence[int], *, num_steps: int, batch_tokens: int, seed: int) -> Plan:
    """The plan of `num_steps` steps over rows of the given lengths: a function of its arguments alone."""
    starts, position = [0], 0
    for _ in range(num_steps):
        num_tokens = lengths[row_at(position, len(lengths), seed)]
        position += 1
        while (num_tokens := num_tokens + lengths[row_at(position, len(lengths), seed)]) <= batch_tokens:
            position += 1
        starts.append(position)
    return Plan(num_rows=len(lengths), seed=seed, starts=tuple(starts))


def micro_batches(lengths: Sequence[int], micro_batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Indices into `lengths` cut into micro-batches of similar length, padded size at most `micro_batch_tokens` where possible."""
    parts: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if parts and (len(parts[-1]) + 1) * lengths[parts[-1][0]] <= micro_batch_tokens:
            parts[-1].append(index)
        else:
            parts.append([index])
    return tuple(map(tuple, parts))


def make_batch(rows: Sequence[Row], micro_batch_tokens: int) -> StepBatch:
    """`rows` as the tensors of one step; its digest is of ids, targets and terms, in the order of `rows`."""
    lengths = [len(row.ids) for row in rows]
    cuts = micro_batches(lengths, micro_batch_tokens)
    return StepBatch(
        parts=tuple(_micro_batch([rows[index] for index in cut]) for cut in cuts),
        num_tokens=sum(lengths),
        num_padded=sum(len(cut) * lengths[cut[0]] for cut in cuts),
        num_term_tokens={term: sum(row.num_tokens(term) for row in rows) for term in TERMS},
        digest=_digest(rows),
    )


def _micro_batch(rows: Sequence[Row]) -> MicroBatch:
    num_tokens = max(len(row.ids) for row in rows)
    ids_BT = np.zeros((len(rows), num_tokens), dtype=np.int64)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row.ids)] = row.ids
    width = max((row.signal.ids_NJ.shape[1] for row in rows if row.signal is not None), default=1)
    signals = [row.signal or _no_signal(len(row.targets), width) for row in rows]
    by_teacher_N = np.concatenate([np.full(len(row.targets), row.is_teachers) for row in rows])
    is_free_N = torch.from_numpy(np.concatenate([signal.is_free_N for signal in signals]))
    masks = {"kd": is_free_N, "ce_teacher": torch.from_numpy(by_teacher_N), "ce_truth": torch.from_numpy(~by_teacher_N)}
    return MicroBatch(
        ids_BT=torch.from_numpy(ids_BT),
        place_N=torch.from_numpy(np.concatenate([index * num_tokens + row.targets - 1 for index, row in enumerate(rows)])),
        target_N=torch.from_numpy(np.concatenate([row.ids[row.targets] for row in rows])),
        masks={term: mask_N.float() for term, mask_N in masks.items()},
        signal=SparseTarget(
            ids_NJ=torch.from_numpy(np.concatenate([signal.ids_NJ for signal in signals])),
            probs_NJ=torch.from_numpy(np.concatenate([signal.probs_NJ for signal in signals])),
            entropy_N=torch.from_numpy(np.concatenate([signal.entropy_N for signal in signals])),
        ),
    )


def _signal(store: SignalStore, sample_id: str, ids: Sequence[int]) -> _Signal:
    """Head and tail of the stored distributions as one sparse one: each of the S draws carries τ/S."""
    rows = store.row(sample_id, ids)
    num_draws = rows.tail_ids_NS.shape[1]
    tail_probs_NS = np.repeat(rows.tail_mass_N[:, None] / num_draws, num_draws, axis=1)
    return _Signal(
        ids_NJ=np.concatenate([rows.head_ids_NK, rows.tail_ids_NS], axis=1),
        probs_NJ=np.concatenate([rows.head_probs_NK, tail_probs_NS], axis=1).astype(np.float32),
        entropy_N=rows.entropy_N,
        is_free_N=~rows.is_forced_N,
    )


def _no_signal(num_targets: int, width: int) -> _Signal:
    return _Signal(
        ids_NJ=np.zeros((num_targets, width), dtype=np.int64),
        probs_NJ=np.zeros((num_targets, width), dtype=np.float32),
        entropy_N=np.zeros(num_targets, dtype=np.float32),
        is_free_N=np.zeros(num_targets, dtype=np.bool_),
    )


def _digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.sample_id} {len(row.ids)} {len(row.targets)} {row.is_teachers}\n".encode())
        digest.update(row.ids.astype("<i8").tobytes() + row.targets.astype("<i8").tobytes())
        if row.signal is not None:
            digest.update(row.signal.ids_NJ.astype("<i8").tobytes() + row.signal.probs_NJ.astype("<f4").tobytes())
    return digest.hexdigest()
