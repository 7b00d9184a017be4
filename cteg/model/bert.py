"""BERT, the language model that reads the sentence, under the tensor names of its published weights.

Written out because importing transformers takes longer than everything else that performs a sentence: three seconds of
a processor, and 200 MB. `tests/test_bert.py` holds it against transformers.

Reference: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
Letters: B batch, L tokens, A heads, H hidden.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"gelu": functional.gelu, "relu": functional.relu}
FIXED = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
"""Entries of a published configuration that would make it another model."""


@dataclass(frozen=True)
class BertConfig:
    """What a BERT is made of; the names are those of a published `config.json`, the defaults `bert-base`.

    Attributes:
        vocab_size: Tokens that it knows.
        hidden_size: H.
        num_hidden_layers: Layers.
        num_attention_heads: A; divides `hidden_size`.
        intermediate_size: Inner width of the feed-forward networks.
        hidden_act: `gelu` or `relu`.
        hidden_dropout_prob: Dropout probability of states, in training.
        attention_probs_dropout_prob: Dropout probability of attention weights, in training.
        max_position_embeddings: Longest sequence.
        type_vocab_size: Kinds of segments; only the first is used.
        initializer_range: Standard deviation of untrained weights.
        layer_norm_eps: Of all norms.
        pad_token_id: Token that fills up a batch.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {self.hidden_act!r}, expected one of {', '.join(ACTIVATIONS)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not divide hidden_size {self.hidden_size}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """Read a published configuration; what does not concern the encoder is left out.

        Raises:
            ValueError: It describes another kind of model.
        """
        for name, expected in FIXED.items():
            if values.get(name, expected) != expected:
                raise ValueError(f"{name} is {values[name]!r}, expected {expected!r}")
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known and value is not None})


class Bert(nn.Module):
    """The encoder without a pooler.

    Args:
        config: What it is made of.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=config.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) token ids and mask, True for real tokens -> last hidden states (B, L, H)."""
        states = self.embeddings(ids)
        seen = None if mask.all() else mask[:, None, None]  # (B, 1, 1, L)
        for layer in self.encoder["layer"]:
            states = layer(states, seen)
        return states


class Embeddings(nn.Module):
    """Word, position and segment."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, H)."""
        words = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(words + self.position_embeddings.weight[: ids.shape[1]]))


class Layer(nn.Module):
    """Self-attention and feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Output(config, config.hidden_size)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.intermediate_size)})
        self.output = Output(config, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        """(B, L, H) -> (B, L, H)."""
        attended = self.attention["output"](self.attention["self"](states, seen), states)
        return self.output(self.activation(self.intermediate["dense"](attended)), attended)


class SelfAttention(nn.Module):
    """Every token attends to every real one."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        """(B, L, H) -> (B, L, H)."""
        query, key, value = (
            projection(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, A, L, H/A)
            for projection in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        return attended.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """Projection back to H, with residual and norm."""

    def __init__(self, config: BertConfig, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor, before: Tensor) -> Tensor:
        """(B, L, size) and what to add it to (B, L, H) -> (B, L, H)."""
        return self.LayerNorm(self.dropout(self.dense(states)) + before)


def build_bert(configuration: dict[str, Any]) -> Bert:
    """Build an untrained encoder from a published configuration, the `config.json` of a BERT.

    Raises:
        ValueError: It describes another kind of model.
        TypeError: A value is of the wrong kind.
    """
    with torch.no_grad():
        return Bert(BertConfig.from_dict(configuration)).eval()
