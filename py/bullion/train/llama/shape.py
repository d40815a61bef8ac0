"""The numbers of a Llama-shaped decoder, read once from its configuration. Holds no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LlamaShape:
    """`q_width`, `kv_width`: features of all query heads and of all key (or value) heads."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    norm_epsilon: float
    tied: bool

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def qkv_width(self) -> int:
        return self.q_width + 2 * self.kv_width

    @classmethod
    def of(cls, config: Any) -> LlamaShape:
        """From a Transformers LlamaConfig, or anything with its fields."""
        head_dim = getattr(config, "head_dim", None)
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads or config.num_attention_heads,
            head_dim=head_dim or config.hidden_size // config.num_attention_heads,
            mlp=config.intermediate_size,
            vocabulary=config.vocab_size,
            norm_epsilon=config.rms_norm_eps,
            tied=bool(config.tie_word_embeddings),
        )
