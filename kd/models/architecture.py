"""The shape of a decoder-only GQA transformer, as numbers; free of torch, so that configurations can hold it."""

from __future__ import annotations

from attrs import field, frozen, validators

__all__ = ["Architecture"]

_positive = validators.ge(1)


@frozen(kw_only=True)
class Architecture:
    """Pre-norm blocks: RMSNorm, grouped-query attention with rotary positions, SwiGLU; no bias."""

    vocab_size: int = field(validator=_positive)
    hidden_size: int = field(validator=_positive)
    num_layers: int = field(validator=_positive)
    num_heads: int = field(validator=_positive)
    num_kv_heads: int = field(validator=_positive)
    head_dim: int = field(validator=_positive)
    intermediate_size: int = field(validator=_positive)
    max_context_tokens: int = field(validator=_positive)
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    is_tied: bool = True
    """The LM head is the embedding matrix."""

    def __attrs_post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}, which is no multiple of num_kv_heads = {self.num_kv_heads}:"
                " every key-value head must serve the same number of query heads."
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, expected an even number: rotary positions turn pairs.")

    @property
    def num_params(self) -> int:
        """Number of parameters; SmolLM2-135M gives 134,515,008."""
        d, f = self.hidden_size, self.intermediate_size
        q, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        block = d * q + 2 * d * kv + q * d + 3 * d * f + 2 * d
        return self.vocab_size * d * (1 if self.is_tied else 2) + self.num_layers * block + d
