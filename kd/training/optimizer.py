"""AdamW over a student's weights, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kd.models.student import Student
from kd.training.config import OptimizerConfig

__all__ = ["load_optimizer_state", "make_optimizer", "optimizer_state"]


def make_optimizer(student: Student, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone: norms and embeddings, a tied head among them, have none."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in student.named_parameters():
        is_decayed = parameter.ndim == 2 and "embed_tokens" not in name
        (decayed if is_decayed else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def optimizer_state(student: Student, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Moments and step counts by name of weight; empty before the first update."""
    named = student.named_parameters()
    return {f"{name}.{key}": value for name, parameter in named for key, value in optimizer.state.get(parameter, {}).items()}


def load_optimizer_state(student: Student, optimizer: torch.optim.AdamW, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_state` gave."""
    for name, parameter in student.named_parameters():
        state = {key.rpartition(".")[2]: tensor.clone() for key, tensor in tensors.items() if key.rpartition(".")[0] == name}
        if state:
            optimizer.state[parameter] = state
