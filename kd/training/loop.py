"""One optimiser step: forward, fused loss, backward over all micro-batches, one clip, one update.

Every term is divided by the number of its tokens in the whole step, known before the first forward pass, so that cutting the
step into micro-batches changes nothing. A step whose loss or gradient is not finite changes no weight.

Legend: N targets, H hidden width, V vocabulary.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor

from kd.errors import StageError
from kd.models.student import Student, StudentOutput
from kd.training.arithmetic import align_weights, bits_of
from kd.training.batches import MicroBatch, StepBatch
from kd.training.config import TrainingConfig
from kd.training.events import LossPart, StepCompleted, StepSkipped
from kd.training.losses import fused_linear_loss
from kd.training.optimizer import make_optimizer
from kd.training.schedule import learning_rate

__all__ = ["Trainer", "dead_terms"]

_PROBE_EVERY_STEPS = 1000
_NUM_PROBED = 64


@frozen(kw_only=True)
class _Sums:
    """What the micro-batches of a step add up to."""

    loss: float
    values: Mapping[str, float]
    """Sum of each term's per-token values, in nats."""


class Trainer:
    """A student in training, after `step` steps."""

    def __init__(self, student: Student, config: TrainingConfig, term_weights: Mapping[str, float]) -> None:
        align_weights(student)
        self.student = student.requires_grad_(True)
        self.config = config
        self.optimizer = make_optimizer(student, config.optimizer)
        self.step = 0
        self.weights = {term: weight for term, weight in term_weights.items() if weight}

    def run(self, batch: StepBatch) -> StepCompleted | StepSkipped:
        """Execute the next step; StageError if an enabled term of the loss has no gradient."""
        started = time.perf_counter()
        step = self.step + 1
        if step % _PROBE_EVERY_STEPS == 1:
            self._probe(batch)
        sums = self._accumulate(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.clip_norm, foreach=False)
        grad_norm = float(norm)
        is_finite = math.isfinite(sums.loss) and math.isfinite(grad_norm)
        lr = learning_rate(self.config, step)
        if is_finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.step = step
        if not is_finite:
            return StepSkipped(
                step=step,
                reason=f"The loss is {sums.loss} and the gradient's norm {grad_norm}: no weight was changed.",
                batch_digest=batch.digest,
                loss_bits=bits_of(sums.loss),
                grad_norm_bits=bits_of(grad_norm),
            )
        return StepCompleted(
            step=step,
            loss_nats=sums.loss,
            loss_bits=bits_of(sums.loss),
            parts=self._parts(batch, sums),
            num_tokens=batch.num_tokens,
            batch_digest=batch.digest,
            grad_norm=grad_norm,
            grad_norm_bits=bits_of(grad_norm),
            lr=lr,
            seconds=time.perf_counter() - started,
            peak_bytes=_peak_bytes(),
        )

    def _accumulate(self, batch: StepBatch) -> _Sums:
        """Gradients of the whole step in `.grad`."""
        loss, values = 0.0, dict.fromkeys(self.weights, 0.0)
        for part in batch.parts:
            weights = _position_weights(part, self.weights, batch.num_term_tokens)
            counted_N = (weights.ce_N + weights.kd_N).nonzero()[:, 0]
            if not len(counted_N):
                continue
            counted, ce_N, kd_N = part.at(counted_N), weights.ce_N[counted_N], weights.kd_N[counted_N]
            part_loss, of_tokens = fused_linear_loss(
                self._hidden(counted),
                self.student.head_VH,
                counted.target_N,
                ce_N,
                kd_N,
                counted.signal,
                chunk_bytes=self.config.loss.chunk_bytes,
            )
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
            for term in values:
                losses_N = of_tokens.kl_N if term == "kd" else of_tokens.ce_N
                values[term] += float((losses_N.double() * counted.masks[term]).sum())
        return _Sums(loss=loss, values=values)

    def _hidden(self, part: MicroBatch) -> Tensor:
        """The hidden state that predicts each target."""
        output: StudentOutput = self.student(part.ids_BT)
        return output.hidden_BTH.flatten(0, 1).index_select(0, part.place_N)

    def _parts(self, batch: StepBatch, sums: _Sums) -> tuple[LossPart, ...]:
        counts = batch.num_term_tokens
        return tuple(
            LossPart(
                name=term,
                value_nats=sums.values[term] / counts[term] if counts[term] else 0.0,
                weight=weight,
                num_tokens=counts[term],
            )
            for term, weight in self.weights.items()
        )

    def _probe(self, batch: StepBatch) -> None:
        for part in batch.parts:
            with torch.no_grad():
                hidden_NH = self._hidden(part)
            dead = dead_terms(hidden_NH, self.student.head_VH.detach(), part, tuple(self.weights))
            if dead:
                raise StageError(
                    "RunSteps",
                    f"The term {dead[0]} of the loss has a value but no gradient at step {self.step + 1}: it would teach nothing;"
                    " check its data.",
                    is_retryable=False,
                )


@frozen(kw_only=True, eq=False)
class _Weights:
    """Weight of each position in the loss."""

    ce_N: Tensor
    kd_N: Tensor


def _position_weights(part: MicroBatch, weights: Mapping[str, float], counts: Mapping[str, int]) -> _Weights:
    """w/N_term for every position that a term counts; N_term is of the whole step."""
    ce_N, kd_N = torch.zeros_like(part.masks["kd"]), torch.zeros_like(part.masks["kd"])
    for term, weight in weights.items():
        if counts[term]:
            (kd_N if term == "kd" else ce_N).add_(part.masks[term], alpha=weight / counts[term])
    return _Weights(ce_N=ce_N, kd_N=kd_N)


def dead_terms(hidden_NH: Tensor, head_VH: Tensor, part: MicroBatch, terms: tuple[str, ...]) -> tuple[str, ...]:
    """The `terms` whose value over some positions of `part` is not zero but whose gradient is."""
    dead = []
    for term in terms:
        counted_N = part.masks[term].nonzero()[:_NUM_PROBED, 0]
        if not len(counted_N):
            continue
        probe_NH = hidden_NH.detach()[counted_N].requires_grad_(True)
        one_N, none_N = torch.ones(len(counted_N)), torch.zeros(len(counted_N))
        weights = (none_N, one_N) if term == "kd" else (one_N, none_N)
        signal = part.signal.at(counted_N)
        loss, _ = fused_linear_loss(probe_NH, head_VH, part.target_N[counted_N], *weights, signal, chunk_bytes=0)
        loss.backward()  # type: ignore[no-untyped-call]
        assert probe_NH.grad is not None
        if float(loss.detach()) != 0.0 and float(probe_NH.grad.norm()) == 0.0:
            dead.append(term)
    return tuple(dead)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
