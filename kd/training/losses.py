"""Head, loss and gradient as one operation over chunks of positions, so that the logits of a batch never exist at once.

Two terms share the pass, both in nats. Cross-entropy of target y: −ln q(y). Forward KL(p || q) on a sparse teacher: with the
stored p̂ = Σ_j probs_j·δ(ids_j) of mass M̂, KL = −Σ p̂ ln q − H(p) = M̂·lse − Σ_j probs_j·z(ids_j) − H(p); as it is
linear in p̂ it is unbiased when p̂ is. Their gradients in the logits are q − δ(y) and M̂·q − p̂.

Extra memory is one chunk of logits plus the two gradients, whatever the number of positions.

Legend: N positions, R positions of a chunk, H hidden width, V vocabulary, J ids of a sparse distribution.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from attrs import frozen
from torch import Tensor

__all__ = ["PositionScores", "SparseTarget", "TokenLosses", "fused_linear_loss", "rows_per_chunk", "score_positions"]

_MIN_ROWS = 64


@frozen(kw_only=True, eq=False)
class SparseTarget:
    """Teacher distributions over few ids each; an id may occur more than once."""

    ids_NJ: Tensor
    probs_NJ: Tensor
    entropy_N: Tensor
    """Of the teacher's whole distribution, in nats."""

    def at(self, places: Tensor) -> SparseTarget:
        """The distributions at `places`."""
        return SparseTarget(ids_NJ=self.ids_NJ[places], probs_NJ=self.probs_NJ[places], entropy_N=self.entropy_N[places])


@frozen(kw_only=True, eq=False)
class TokenLosses:
    """Losses of single positions, in nats, without weights and gradient."""

    ce_N: Tensor
    kl_N: Tensor


def rows_per_chunk(chunk_bytes: int, vocab_size: int, element_bytes: int, num_rows: int) -> int:
    """Positions whose logits fit in `chunk_bytes`: at least 64, as smaller chunks are slow, and at most `num_rows`."""
    return max(1, min(num_rows, max(_MIN_ROWS, chunk_bytes // (vocab_size * element_bytes))))


def fused_linear_loss(
    hidden_NH: Tensor,
    head_VH: Tensor,
    target_N: Tensor,
    ce_weight_N: Tensor,
    kd_weight_N: Tensor,
    signal: SparseTarget,
    *,
    chunk_bytes: int,
) -> tuple[Tensor, TokenLosses]:
    """Σ ce_weight·CE + kd_weight·KL as a float64 scalar with gradients to `hidden_NH` and `head_VH`, and the unweighted parts."""
    rows = rows_per_chunk(chunk_bytes, head_VH.shape[0], hidden_NH.element_size(), hidden_NH.shape[0])
    arguments = (target_N, ce_weight_N, kd_weight_N, signal.ids_NJ, signal.probs_NJ.to(hidden_NH.dtype), signal.entropy_N)
    loss, ce_N, kl_N = cast(tuple[Tensor, Tensor, Tensor], _FusedLoss.apply(hidden_NH, head_VH, *arguments, rows))  # type: ignore[no-untyped-call]
    return loss, TokenLosses(ce_N=ce_N, kl_N=kl_N)


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        head_VH: Tensor,
        target_N: Tensor,
        ce_weight_N: Tensor,
        kd_weight_N: Tensor,
        ids_NJ: Tensor,
        probs_NJ: Tensor,
        entropy_N: Tensor,
        rows: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_positions = hidden_NH.shape[0]
        grad_NH, grad_VH = torch.zeros_like(hidden_NH), torch.zeros_like(head_VH)
        ce_N, kl_N = hidden_NH.new_zeros(num_positions), hidden_NH.new_zeros(num_positions)
        buffer_RV = hidden_NH.new_empty(rows, head_VH.shape[0])
        for start in range(0, num_positions, rows):
            part = slice(start, min(start + rows, num_positions))
            logits_RV = torch.mm(hidden_NH[part], head_VH.T, out=buffer_RV[: part.stop - part.start])
            ce_N[part], kl_N[part], sum_R = _values(logits_RV, target_N[part], ids_NJ[part], probs_NJ[part])
            mass_R = probs_NJ[part].sum(dim=1)
            logits_RV.mul_(((ce_weight_N[part] + kd_weight_N[part] * mass_R) / sum_R)[:, None])
            logits_RV.scatter_add_(1, target_N[part, None], -ce_weight_N[part, None])
            logits_RV.scatter_add_(1, ids_NJ[part], -kd_weight_N[part, None] * probs_NJ[part])
            torch.mm(logits_RV, head_VH, out=grad_NH[part])
            grad_VH.addmm_(logits_RV.T, hidden_NH[part])
        kl_N -= entropy_N.to(kl_N.dtype)
        loss = (ce_N.double() * ce_weight_N + kl_N.double() * kd_weight_N).sum()
        ctx.save_for_backward(grad_NH, grad_VH)
        ctx.mark_non_differentiable(ce_N, kl_N)
        return loss, ce_N, kl_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        grad_NH, grad_VH = ctx.saved_tensors
        factor = grad_outputs[0].to(grad_NH.dtype)
        return grad_NH * factor, grad_VH * factor, None, None, None, None, None, None, None


def _values(logits_RV: Tensor, target_R: Tensor, ids_RJ: Tensor, probs_RJ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CE, −Σ p̂ ln q and Σ exp(z − max z); `logits_RV` holds exp(z − max z) afterwards."""
    logits_RV.sub_(logits_RV.amax(dim=1, keepdim=True))
    of_target_R = logits_RV.gather(1, target_R[:, None])[:, 0]
    of_ids_RJ = logits_RV.gather(1, ids_RJ)
    sum_R = logits_RV.exp_().sum(dim=1)
    lse_R = sum_R.log()
    return lse_R - of_target_R, (probs_RJ * (lse_R[:, None] - of_ids_RJ)).sum(dim=1), sum_R


@frozen(kw_only=True, eq=False)
class PositionScores:
    """What a student says at single positions."""

    losses: TokenLosses
    entropy_N: Tensor
    """Of the student, in nats."""
    top_N: Tensor
    """Its most probable id."""


@torch.no_grad()
def score_positions(hidden_NH: Tensor, head_VH: Tensor, target_N: Tensor, signal: SparseTarget, *, chunk_bytes: int) -> PositionScores:
    """Losses, entropy and most probable id of each position, by the same chunks."""
    rows = rows_per_chunk(chunk_bytes, head_VH.shape[0], hidden_NH.element_size(), hidden_NH.shape[0])
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, hidden_NH.shape[0], rows):
        part = slice(start, start + rows)
        logits_RV = hidden_NH[part] @ head_VH.T
        top_R = logits_RV.argmax(dim=1)
        log_probs_RV = logits_RV.log_softmax(dim=1)
        entropy_R = -(logits_RV.copy_(log_probs_RV).exp_().mul_(log_probs_RV)).sum(dim=1)
        ce_R = -log_probs_RV.gather(1, target_N[part, None])[:, 0]
        kl_R = -(signal.probs_NJ[part] * log_probs_RV.gather(1, signal.ids_NJ[part])).sum(dim=1) - signal.entropy_N[part]
        parts.append((ce_R, kl_R, entropy_R, top_R))
    ce_N, kl_N, entropy_N, top_N = (torch.cat(column) for column in zip(*parts, strict=True))
    return PositionScores(losses=TokenLosses(ce_N=ce_N, kl_N=kl_N), entropy_N=entropy_N, top_N=top_N)
