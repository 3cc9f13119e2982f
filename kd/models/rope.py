"""Rotary positions in the half-split layout: element i of a head turns with element i + D/2.

Promises: tables are fp32, built once for all positions, and depend on nothing but the three numbers given; so keys that
were turned before they entered a cache stay valid for ever. The arithmetic is that of Hugging Face's Llama.

Legend: P position, B batch, h head, T tokens, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rotary_tables", "turn"]


def rotary_tables(head_dim: int, num_positions: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all angles, each `[P, D]` in fp32."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    angles_PR = torch.outer(torch.arange(num_positions, dtype=torch.float32, device="cpu"), 1.0 / theta**exponents)
    angles_PD = torch.cat((angles_PR, angles_PR), dim=-1)
    return angles_PD.cos(), angles_PD.sin()


def turn(heads_BhTD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
    """Queries or keys turned by the angles of their positions."""
    first, second = heads_BhTD.chunk(2, dim=-1)
    swapped_BhTD = torch.cat((-second, first), dim=-1)
    return heads_BhTD * cos_BTD[:, None] + swapped_BhTD * sin_BTD[:, None]
