"""The fused loss against a naive one in float64."""

from __future__ import annotations

import pytest
import torch
from attrs import frozen
from torch import Tensor

from kd.training.losses import SparseTarget, fused_linear_loss, rows_per_chunk, score_positions

V, H, K, S = 300, 24, 5, 3


@frozen(kw_only=True, eq=False)
class Case:
    """Inputs of the loss."""

    hidden_NH: Tensor
    head_VH: Tensor
    target_N: Tensor
    ce_weight_N: Tensor
    kd_weight_N: Tensor
    signal: SparseTarget

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor, SparseTarget]:
        return self.target_N, self.ce_weight_N, self.kd_weight_N, self.signal


def _case(num_positions: int, dtype: torch.dtype = torch.float64, scale: float = 3.0) -> Case:
    """Random positions; tail ids repeat and may meet the target, some weights are zero, masses differ from one."""
    draw = torch.Generator().manual_seed(num_positions)
    ids_NJ = torch.randint(0, V, (num_positions, K + S), generator=draw)
    ids_NJ[:, -1:] = ids_NJ[:, -2:-1]
    target_N = torch.randint(0, V, (num_positions,), generator=draw)
    ids_NJ[::3, 0] = target_N[::3]
    probs_NJ = torch.rand(num_positions, K + S, generator=draw, dtype=dtype) / (K + S)
    weights = torch.rand(2, num_positions, generator=draw, dtype=dtype)
    weights[0, ::4], weights[1, 1::4], weights[:, 5::7] = 0, 0, 0
    return Case(
        hidden_NH=(torch.randn(num_positions, H, generator=draw, dtype=dtype) * scale).requires_grad_(True),
        head_VH=torch.randn(V, H, generator=draw, dtype=dtype).requires_grad_(True),
        target_N=target_N,
        ce_weight_N=weights[0],
        kd_weight_N=weights[1],
        signal=SparseTarget(ids_NJ=ids_NJ, probs_NJ=probs_NJ, entropy_N=torch.rand(num_positions, generator=draw, dtype=dtype)),
    )


def _naive(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients in float64 from dense distributions, one formula each."""
    hidden_NH, head_VH = (tensor.detach().double().requires_grad_(True) for tensor in (case.hidden_NH, case.head_VH))
    log_q_NV = torch.log_softmax(hidden_NH @ head_VH.T, dim=1)
    p_NV = torch.zeros_like(log_q_NV).scatter_add(1, case.signal.ids_NJ, case.signal.probs_NJ.double())
    ce_N = -log_q_NV[torch.arange(len(case.target_N)), case.target_N]
    kl_N = -(p_NV * log_q_NV).sum(dim=1) - case.signal.entropy_N.double()
    loss = (case.ce_weight_N.double() * ce_N + case.kd_weight_N.double() * kl_N).sum()
    grad_NH, grad_VH = torch.autograd.grad(loss, (hidden_NH, head_VH))
    return loss.detach(), grad_NH, grad_VH


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("num_positions", [1, 63, 64, 65, 200, 333])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_loss_and_gradients_are_those_of_the_plain_formula(num_positions: int, dtype: torch.dtype, tolerance: float) -> None:
    """However positions fall into chunks, values and gradients equal the naive ones in float64."""
    case = _case(num_positions, dtype)
    loss, _ = fused_linear_loss(case.hidden_NH, case.head_VH, *case.arguments, chunk_bytes=0)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = _naive(case)
    assert case.hidden_NH.grad is not None
    assert case.head_VH.grad is not None
    for found, wanted in zip((loss.detach(), case.hidden_NH.grad, case.head_VH.grad), expected, strict=True):
        assert _difference(found, wanted) <= tolerance


def test_gradcheck_holds() -> None:
    """Numeric derivatives agree, to hidden states and head."""
    case = _case(5, scale=0.5)

    def loss(hidden_NH: Tensor, head_VH: Tensor) -> Tensor:
        return fused_linear_loss(hidden_NH, head_VH, *case.arguments, chunk_bytes=0)[0]

    head_VH = case.head_VH.detach()[:, :]
    assert torch.autograd.gradcheck(loss, (case.hidden_NH, head_VH.requires_grad_(True)), fast_mode=True)


def test_no_positions_cost_nothing() -> None:
    """Zero positions give loss 0 and gradients 0, not NaN."""
    case = _case(0)
    loss, parts = fused_linear_loss(case.hidden_NH, case.head_VH, *case.arguments, chunk_bytes=0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert case.head_VH.grad is not None
    assert not case.head_VH.grad.any()
    assert parts.ce_N.shape == (0,)


def test_masked_positions_have_no_gradient() -> None:
    """A position whose weights are 0 moves nothing."""
    case = _case(40)
    loss, _ = fused_linear_loss(case.hidden_NH, case.head_VH, *case.arguments, chunk_bytes=0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert case.hidden_NH.grad is not None
    is_masked = (case.ce_weight_N == 0) & (case.kd_weight_N == 0)
    assert is_masked.any()
    assert not case.hidden_NH.grad[is_masked].any()
    assert case.hidden_NH.grad[~is_masked].abs().sum(dim=1).all()


def test_huge_logits_stay_finite() -> None:
    """Logits in the thousands overflow nothing."""
    case = _case(10, torch.float32, scale=500.0)
    loss, _ = fused_linear_loss(case.hidden_NH, case.head_VH, *case.arguments, chunk_bytes=0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert case.hidden_NH.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(case.hidden_NH.grad).all()


def test_the_divergence_of_equal_distributions_is_zero() -> None:
    """If the stored distribution is the student's own, KL and its gradient vanish."""
    generator = torch.Generator().manual_seed(0)
    hidden_NH = torch.randn(4, H, generator=generator, dtype=torch.float64).requires_grad_(True)
    head_VH = torch.randn(V, H, generator=generator, dtype=torch.float64)
    q_NV = torch.softmax(hidden_NH.detach() @ head_VH.T, dim=1)
    signal = SparseTarget(ids_NJ=torch.arange(V).expand(4, V), probs_NJ=q_NV, entropy_N=-(q_NV * q_NV.log()).sum(dim=1))
    zeros_N, ones_N = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    loss, parts = fused_linear_loss(hidden_NH, head_VH, torch.zeros(4, dtype=torch.long), zeros_N, ones_N, signal, chunk_bytes=0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert hidden_NH.grad is not None
    assert float(parts.kl_N.abs().max()) < 1e-12
    assert float(hidden_NH.grad.abs().max()) < 1e-12


def test_chunks_are_cut_by_bytes() -> None:
    """A chunk holds what fits, at least 64 positions and at most all."""
    assert rows_per_chunk(64 * 2**20, 49152, 4, 10_000) == 341
    assert rows_per_chunk(0, 49152, 4, 10_000) == 64
    assert rows_per_chunk(64 * 2**20, 49152, 4, 7) == 7
    assert rows_per_chunk(64 * 2**20, 512, 4, 0) == 1


def test_scores_agree_with_the_loss() -> None:
    """Validation and training compute the same values; entropy and top id are those of the dense distribution."""
    case = _case(130)
    _, parts = fused_linear_loss(case.hidden_NH, case.head_VH, *case.arguments, chunk_bytes=0)
    scores = score_positions(case.hidden_NH, case.head_VH, case.target_N, case.signal, chunk_bytes=0)
    assert torch.allclose(scores.losses.ce_N, parts.ce_N)
    assert torch.allclose(scores.losses.kl_N, parts.kl_N)
    log_q_NV = torch.log_softmax((case.hidden_NH @ case.head_VH.T).detach(), dim=1)
    assert torch.allclose(scores.entropy_N, -(log_q_NV.exp() * log_q_NV).sum(dim=1))
    assert torch.equal(scores.top_N, log_q_NV.argmax(dim=1))
