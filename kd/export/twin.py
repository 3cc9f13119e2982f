"""The export twin: a plain second implementation of the student, written for converters.

It loads the student's weights strictly by name and computes the same function with operations that ONNX, Core ML and
the Neural Engine have: RMSNorm by hand, grouped heads by concatenating slices (rank ≤ 4), an additive mask, rotation
angles from the host, keys and values in and out as plain tensors. Parity is measured, never assumed.

Shapes: B = 1 batch, T queries, P past, S = P + T keys, H query heads, K key-value heads, N = layers · K rows of the
key-value pack, D head dimension, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd.errors import StageError
from kd.models.architecture import Architecture

__all__ = ["Twin", "load_twin", "weight_free_twin"]


class Twin(nn.Module):
    """The student as one function; `is_last_only` slices the hidden states to the last row before the LM head."""

    def __init__(self, architecture: Architecture, *, is_last_only: bool = False) -> None:
        super().__init__()
        self.model = _Decoder(architecture)
        if not architecture.is_tied:
            self.lm_head = _Linear(architecture.hidden_size, architecture.vocab_size)
        self.architecture = architecture
        self.is_last_only = is_last_only

    def forward(
        self, ids: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor | None = None, past_v: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (1, T, V) or (1, 1, V), and the new keys and values (1, N, T, D).

        ids (1, T) int32; cos and sin (1, 1, T, D); mask (1, 1, T, S), 0 or MASK_VALUE; past (1, N, P, D), keys rotated.
        """
        hidden_BTC = self.model.embed_tokens(ids)
        num_kv = self.architecture.num_kv_heads
        new_k, new_v = [], []
        for index, block in enumerate(self.model.layers):
            rows = slice(index * num_kv, (index + 1) * num_kv)
            layer_past_k = None if past_k is None else past_k[:, rows]
            layer_past_v = None if past_v is None else past_v[:, rows]
            hidden_BTC, k_BKTD, v_BKTD = block(hidden_BTC, cos, sin, mask, layer_past_k, layer_past_v)
            new_k.append(k_BKTD)
            new_v.append(v_BKTD)
        if self.is_last_only:
            hidden_BTC = hidden_BTC[:, -1:]
        logits_BTV = F.linear(self.model.norm(hidden_BTC), self._head_VC)
        return logits_BTV, torch.cat(new_k, dim=1), torch.cat(new_v, dim=1)

    @property
    def _head_VC(self) -> Tensor:
        owner = self.model.embed_tokens if self.architecture.is_tied else self.lm_head
        return cast(Tensor, owner.weight)


def weight_free_twin(architecture: Architecture, *, is_last_only: bool = False) -> Twin:
    """A twin whose parameters are one element each, expanded to shape: for tracing without weights."""
    with torch.device("meta"):
        twin = Twin(architecture, is_last_only=is_last_only)
    state = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in twin.state_dict().items()}
    twin.load_state_dict(state, assign=True)
    return twin.requires_grad_(False).eval()


def load_twin(architecture: Architecture, weights: Mapping[str, Tensor], *, is_last_only: bool = False) -> Twin:
    """A twin over `weights`, without copying them; StageError if names or shapes differ or a value is not finite."""
    with torch.device("meta"):
        twin = Twin(architecture, is_last_only=is_last_only)
    _check_weights({name: tuple(tensor.shape) for name, tensor in twin.state_dict().items()}, weights)
    twin.load_state_dict(dict(weights), assign=True)
    return twin.requires_grad_(False).eval()


def _check_weights(expected: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise StageError(
            "twin",
            f"The checkpoint's tensors are not those of its architecture; missing, extra or of another shape: {', '.join(wrong[:20])}."
            " Export the student that training handed over.",
            is_retryable=False,
        )
    if bad := sorted(name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())):
        raise StageError(
            "twin",
            f"NaN or infinite values are in {', '.join(bad[:20])}, expected finite weights: train again at a lower rate.",
            is_retryable=False,
        )


class _Decoder(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.embed_tokens = _Embedding(architecture.vocab_size, architecture.hidden_size)
        self.layers = nn.ModuleList(_Block(architecture) for _ in range(architecture.num_layers))
        self.norm = _RmsNorm(architecture.hidden_size, architecture.norm_eps)


class _Block(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.input_layernorm = _RmsNorm(architecture.hidden_size, architecture.norm_eps)
        self.self_attn = _Attention(architecture)
        self.post_attention_layernorm = _RmsNorm(architecture.hidden_size, architecture.norm_eps)
        self.mlp = _Mlp(architecture.hidden_size, architecture.intermediate_size)

    def forward(
        self, hidden_BTC: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor | None, past_v: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        attended_BTC, k_BKTD, v_BKTD = self.self_attn(self.input_layernorm(hidden_BTC), cos, sin, mask, past_k, past_v)
        hidden_BTC = hidden_BTC + attended_BTC
        return hidden_BTC + self.mlp(self.post_attention_layernorm(hidden_BTC)), k_BKTD, v_BKTD


class _Attention(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.num_heads = architecture.num_heads
        self.num_kv_heads = architecture.num_kv_heads
        self.head_dim = architecture.head_dim
        query_size, kv_size = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self.q_proj = _Linear(architecture.hidden_size, query_size)
        self.k_proj = _Linear(architecture.hidden_size, kv_size)
        self.v_proj = _Linear(architecture.hidden_size, kv_size)
        self.o_proj = _Linear(query_size, architecture.hidden_size)

    def forward(
        self, hidden_BTC: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor | None, past_v: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        q_BHTD = _rotate(self._split(self.q_proj(hidden_BTC), self.num_heads), cos, sin)
        k_BKTD = _rotate(self._split(self.k_proj(hidden_BTC), self.num_kv_heads), cos, sin)
        v_BKTD = self._split(self.v_proj(hidden_BTC), self.num_kv_heads)
        k_BKSD = k_BKTD if past_k is None else torch.cat((past_k, k_BKTD), dim=2)
        v_BKSD = v_BKTD if past_v is None else torch.cat((past_v, v_BKTD), dim=2)
        mixed_BHTD = F.scaled_dot_product_attention(q_BHTD, self._repeat(k_BKSD), self._repeat(v_BKSD), attn_mask=mask)
        mixed_BTC = mixed_BHTD.transpose(1, 2).reshape(1, hidden_BTC.shape[1], self.num_heads * self.head_dim)
        return self.o_proj(mixed_BTC), k_BKTD, v_BKTD

    def _split(self, flat_BTC: Tensor, num_heads: int) -> Tensor:
        return flat_BTC.view(1, flat_BTC.shape[1], num_heads, self.head_dim).transpose(1, 2)

    def _repeat(self, heads_BKSD: Tensor) -> Tensor:
        """(1, H, S, D): every key-value head once for each query head it serves; `expand` would make rank 5."""
        group = self.num_heads // self.num_kv_heads
        if group == 1:
            return heads_BKSD
        slices = [heads_BKSD[:, head : head + 1] for head in range(self.num_kv_heads)]
        return torch.cat([head for head in slices for _ in range(group)], dim=1)


class _Mlp(nn.Module):
    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = _Linear(hidden_size, intermediate_size)
        self.up_proj = _Linear(hidden_size, intermediate_size)
        self.down_proj = _Linear(intermediate_size, hidden_size)

    def forward(self, hidden_BTC: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(hidden_BTC)) * self.up_proj(hidden_BTC)))


class _RmsNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x_BTC: Tensor) -> Tensor:
        # pow(2), not x * x: the ONNX exporter knows only this form as RMSNormalization.
        return x_BTC * torch.rsqrt(x_BTC.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class _Linear(nn.Module):
    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_out, num_in))

    def forward(self, x_BTC: Tensor) -> Tensor:
        return F.linear(x_BTC, self.weight)


class _Embedding(nn.Module):
    def __init__(self, num_rows: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_rows, size))

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.embedding(ids_BT, self.weight)


def _rotate(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotation of pairs (i, i + D/2)."""
    first, second = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos + torch.cat((-second, first), dim=-1) * sin
