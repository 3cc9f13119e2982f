"""What a student says about the validation split, in means over its targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kd.models.student import Student
from kd.training.batches import MicroBatch, Row, make_batch
from kd.training.config import TrainingConfig
from kd.training.events import Metric
from kd.training.losses import score_positions

__all__ = ["validate"]


@torch.no_grad()
def validate(student: Student, rows: Sequence[Row], config: TrainingConfig) -> tuple[tuple[Metric, ...], int]:
    """The metrics, and the number of targets they are means over.

    `nll_nats` and `entropy_nats` over all targets; `kl_nats` and `top1_agreement` over those with a teacher distribution,
    absent where there are none.
    """
    batch = make_batch(rows, config.micro_batch_tokens)
    sums = dict.fromkeys(("nll_nats", "entropy_nats", "kl_nats", "top1_agreement"), 0.0)
    num_tokens, num_scored = 0, 0
    for part in batch.parts:
        for name, value in _sums(student, part, config.loss.chunk_bytes).items():
            sums[name] += value
        num_tokens += len(part.target_N)
        num_scored += int(part.masks["kd"].sum())
    counts = {"nll_nats": num_tokens, "entropy_nats": num_tokens, "kl_nats": num_scored, "top1_agreement": num_scored}
    return tuple(Metric(name=name, value=sums[name] / count) for name, count in counts.items() if count), num_tokens


def _sums(student: Student, part: MicroBatch, chunk_bytes: int) -> dict[str, float]:
    hidden_NH = student(part.ids_BT).hidden_BTH.flatten(0, 1).index_select(0, part.place_N)
    scores = score_positions(hidden_NH, student.head_VH, part.target_N, part.signal, chunk_bytes=chunk_bytes)
    has_signal_N = part.masks["kd"].double()
    teachers_top_N = part.signal.ids_NJ.gather(1, part.signal.probs_NJ.argmax(dim=1, keepdim=True))[:, 0]
    return {
        "nll_nats": float(scores.losses.ce_N.double().sum()),
        "entropy_nats": float(scores.entropy_N.double().sum()),
        "kl_nats": float((scores.losses.kl_N.double() * has_signal_N).sum()),
        "top1_agreement": float(((scores.top_N == teachers_top_N) * has_signal_N).sum()),
    }
