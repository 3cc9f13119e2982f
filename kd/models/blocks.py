"""The layers of the student, and the cache that they write into.

Legend: B batch, T tokens, S tokens so far, H hidden width, h heads, k key-value heads, D width of a head, L layers.
"""

from __future__ import annotations

from typing import cast

import torch
from attrs import define, frozen
from torch import Tensor, nn
from torch.nn import functional

from kd.models.architecture import Architecture
from kd.models.rope import turn

__all__ = [
    "Attention",
    "Block",
    "Embedding",
    "FeedForward",
    "KvCache",
    "Norm",
    "Pass",
    "Projection",
    "Trunk",
    "attention_mask",
    "token_positions",
]


@define(eq=False)
class KvCache:
    """Keys (after rotation) and values of all layers, allocated once for `capacity` tokens; `forward` writes into it."""

    keys_LBkSD: Tensor
    values_LBkSD: Tensor
    valid_BS: Tensor
    """False where a cached token is padding."""
    length: int = 0
    """Tokens held."""
    is_padded: bool = False

    @classmethod
    def empty(cls, architecture: Architecture, batch: int, capacity: int) -> KvCache:
        """A cache that holds nothing yet."""
        shape = (architecture.num_layers, batch, architecture.num_kv_heads, capacity, architecture.head_dim)
        valid_BS = torch.ones(batch, capacity, dtype=torch.bool)
        return cls(torch.zeros(shape), torch.zeros(shape), valid_BS)

    @property
    def capacity(self) -> int:
        """Tokens it can hold."""
        return self.keys_LBkSD.shape[3]

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"The cache holds {self.length} tokens and cannot be cut to {length}: give a length within it.")
        self.length = length
        self.valid_BS[:, length:] = True
        self.is_padded = not bool(self.valid_BS.all())


class Projection(nn.Module):
    """A matrix without bias."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_outputs, num_inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight)


class Norm(nn.Module):
    """RMSNorm, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.rms_norm(inputs.float(), self.weight.shape, self.weight.float(), self.eps).to(inputs.dtype)


@frozen(kw_only=True, eq=False)
class Pass:
    """What all layers of one forward pass share."""

    cos_BTD: Tensor
    sin_BTD: Tensor
    mask_B1TS: Tensor | None
    is_causal: bool
    cache: KvCache | None


class Attention(nn.Module):
    """Grouped-query attention over the tokens so far."""

    def __init__(self, architecture: Architecture, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = architecture.head_dim
        self.num_groups = architecture.num_heads // architecture.num_kv_heads
        width = architecture.hidden_size
        self.q_proj = Projection(width, architecture.num_heads * self.head_dim)
        self.k_proj = Projection(width, architecture.num_kv_heads * self.head_dim)
        self.v_proj = Projection(width, architecture.num_kv_heads * self.head_dim)
        self.o_proj = Projection(architecture.num_heads * self.head_dim, width)

    def forward(self, inputs_BTH: Tensor, shared: Pass) -> Tensor:
        queries_BhTD = turn(self._heads(self.q_proj(inputs_BTH)), shared.cos_BTD, shared.sin_BTD)
        keys_BkSD = turn(self._heads(self.k_proj(inputs_BTH)), shared.cos_BTD, shared.sin_BTD)
        values_BkSD = self._heads(self.v_proj(inputs_BTH))
        if shared.cache is not None:
            keys_BkSD, values_BkSD = self._remember(shared.cache, keys_BkSD, values_BkSD)
        mixed_BhTD = functional.scaled_dot_product_attention(
            queries_BhTD,
            keys_BkSD.repeat_interleave(self.num_groups, dim=1),
            values_BkSD.repeat_interleave(self.num_groups, dim=1),
            attn_mask=shared.mask_B1TS,
            is_causal=shared.is_causal,
        )
        return cast(Tensor, self.o_proj(mixed_BhTD.transpose(1, 2).flatten(2)))

    def _heads(self, projected_BTX: Tensor) -> Tensor:
        return projected_BTX.view(*projected_BTX.shape[:2], -1, self.head_dim).transpose(1, 2)

    def _remember(self, cache: KvCache, keys_BkTD: Tensor, values_BkTD: Tensor) -> tuple[Tensor, Tensor]:
        end = cache.length + keys_BkTD.shape[2]
        cache.keys_LBkSD[self.index, :, :, cache.length : end] = keys_BkTD
        cache.values_LBkSD[self.index, :, :, cache.length : end] = values_BkTD
        return cache.keys_LBkSD[self.index, :, :, :end], cache.values_LBkSD[self.index, :, :, :end]


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.gate_proj = Projection(architecture.hidden_size, architecture.intermediate_size)
        self.up_proj = Projection(architecture.hidden_size, architecture.intermediate_size)
        self.down_proj = Projection(architecture.intermediate_size, architecture.hidden_size)

    def forward(self, inputs_BTH: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(functional.silu(self.gate_proj(inputs_BTH)) * self.up_proj(inputs_BTH)))


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, architecture: Architecture, index: int) -> None:
        super().__init__()
        self.input_layernorm = Norm(architecture.hidden_size, architecture.norm_eps)
        self.self_attn = Attention(architecture, index)
        self.post_attention_layernorm = Norm(architecture.hidden_size, architecture.norm_eps)
        self.mlp = FeedForward(architecture)

    def forward(self, stream_BTH: Tensor, shared: Pass) -> Tensor:
        stream_BTH = stream_BTH + self.self_attn(self.input_layernorm(stream_BTH), shared)
        return cast(Tensor, stream_BTH + self.mlp(self.post_attention_layernorm(stream_BTH)))


class Embedding(nn.Module):
    """One row per token id."""

    def __init__(self, num_rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_rows, width))

    def forward(self, ids_BT: Tensor) -> Tensor:
        return functional.embedding(ids_BT, self.weight)


class Trunk(nn.Module):
    """Embedding, layers and final norm."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.embed_tokens = Embedding(architecture.vocab_size, architecture.hidden_size)
        self.layers = nn.ModuleList(Block(architecture, index) for index in range(architecture.num_layers))
        self.norm = Norm(architecture.hidden_size, architecture.norm_eps)

    def forward(self, ids_BT: Tensor, shared: Pass) -> Tensor:
        stream_BTH = self.embed_tokens(ids_BT)
        for layer in self.layers:
            stream_BTH = layer(stream_BTH, shared)
        return cast(Tensor, self.norm(stream_BTH))


def token_positions(ids_BT: Tensor, valid_BT: Tensor | None, cache: KvCache | None) -> Tensor:
    """The place of each token among the valid ones of its row."""
    batch, num_tokens = ids_BT.shape
    start = 0 if cache is None else cache.length
    if valid_BT is None and (cache is None or not cache.is_padded):
        return torch.arange(start, start + num_tokens).expand(batch, num_tokens)
    valid_BT = torch.ones_like(ids_BT, dtype=torch.bool) if valid_BT is None else valid_BT
    before_B1 = 0 if cache is None else cache.valid_BS[:, :start].sum(dim=1, keepdim=True)
    return (valid_BT.cumsum(dim=1) - 1 + before_B1).clamp_min(0)


def attention_mask(num_tokens: int, valid_BT: Tensor | None, cache: KvCache | None) -> tuple[Tensor | None, bool]:
    """The attention mask (True: may be seen) and whether the kernel's own causal mask does instead of it."""
    start = 0 if cache is None else cache.length
    if cache is not None and cache.is_padded:
        valid_BS: Tensor | None = cache.valid_BS[:, : start + num_tokens]
    else:
        valid_BS = None if valid_BT is None or bool(valid_BT.all()) else valid_BT
    if valid_BS is None and (start == 0 or num_tokens == 1):
        return None, num_tokens > 1
    places_T = torch.arange(start, start + num_tokens)
    causal_TS = torch.arange(start + num_tokens) <= places_T[:, None]
    if valid_BS is None:
        return causal_TS[None, None], False
    itself_TS = torch.arange(start + num_tokens) == places_T[:, None]  # a padded row sees itself: no softmax over nothing
    return (causal_TS & valid_BS[:, None, None, :]) | itself_TS, False
