"""Attention, feed-forward network and positions: the plain parts that the CTEG modules are made of.

Letters: B batch, N queries, L keys, H hidden, A heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6
"""As in the released code."""

Listener = Callable[[Tensor], Tensor]
"""Attention to one known text: (B, N, H) -> (B, N, H)."""


@dataclass
class KeyValues:
    """Keys and values of the past, grown in place: each (B, A, capacity, H/A), the first `length` filled.

    `projection` (3H, H) holds the weights of query, key and value one below the other: one product instead of three.
    """

    keys: Tensor
    values: Tensor
    projection: Tensor
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the next position (B, A, 1, H/A) and return all keys and values so far."""
        end = self.length + 1
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Multi-head attention with residual and post-normalisation: LayerNorm(query + Attention(query, memory)).

    Projections have no bias, as in the released code. Keys and values may have another width than the queries.

    Reference: Vaswani et al. 2017, "Attention Is All You Need".

    Args:
        hidden_size: H, width of queries and output.
        heads: A, number of heads.
        memory_size: Width of the attended states; H if not given.
        dropout: Dropout probability on the attention weights and on the output.
    """

    def __init__(self, hidden_size: int, heads: int, memory_size: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        memory_size = memory_size or hidden_size
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(memory_size, hidden_size, bias=False)
        self.value = nn.Linear(memory_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)

    def split(self, states: Tensor) -> Tensor:
        """(B, N, H) -> (B, A, N, H/A)."""
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def memory(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Project attended states (B, L, memory_size) to keys and values (B, A, L, H/A)."""
        return self.split(self.key(states)), self.split(self.value(states))

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        """Attend from `query` (B, N, H) to given keys and values; `mask` is True where a key may be seen."""
        return self.attend_projected(query, self.split(self.query(query)), keys, values, mask, is_causal)

    def attend_projected(
        self, states: Tensor, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool
    ) -> Tensor:
        """The same with the states' queries (B, A, N, H/A) already computed."""
        attended = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=is_causal, dropout_p=self.dropout if self.training else 0.0
        )  # (B, A, N, H/A)
        output = self.output(attended.transpose(1, 2).flatten(2))
        return self.norm(states + functional.dropout(output, self.dropout, self.training))

    def to_self(self, states: Tensor) -> Tensor:
        """Causal self-attention over a whole sequence (B, N, H): position n sees positions <= n."""
        return self.attend(states, *self.memory(states), mask=None, is_causal=True)

    def fused_projection(self) -> Tensor:
        """Weights of query, key and value one below the other, (3H, H)."""
        return torch.cat([self.query.weight, self.key.weight, self.value.weight])

    def start(self, rows: int, capacity: int) -> KeyValues:
        """Make room for `capacity` positions of `rows` sequences."""
        projection = self.fused_projection()
        shape = (rows, self.heads, capacity, len(projection) // 3 // self.heads)
        return KeyValues(projection.new_zeros(shape), projection.new_zeros(shape), projection)

    def to_self_cached(self, state: Tensor, past: KeyValues) -> Tensor:
        """Causal self-attention for the next position (B, 1, H), whose keys and values join `past`."""
        projected = functional.linear(state, past.projection).view(len(state), 3 * self.heads, 1, -1)
        query, key, value = projected.chunk(3, 1)  # (B, A, 1, H/A) each
        return self.attend_projected(state, query, *past.append(key, value), mask=None, is_causal=False)

    def listen_to(self, text: Tensor, text_mask: Tensor) -> Listener:
        """Return the attention to a text that many states will read.

        Args:
            text: (B, L, memory_size), or (1, L, memory_size) for one sentence that all sequences share.
            text_mask: (B, L) or (1, L), True for real tokens.
        """
        if len(text) == 1:
            return FoldedText(self, text, text_mask)
        memory, mask = self.memory(text), text_mask[:, None, None]
        return lambda states: self.to_memory(states, memory, mask)

    def to_memory(self, states: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Attend to a sentence's keys and values; `mask` (B, 1, 1, L) is True for real tokens."""
        return self.attend(states, *memory, mask=mask, is_causal=False)


class FoldedText:
    """Attention to a text with the projections round it multiplied out, for many states that read the same text.

    A head's score of state x and token t is x' (Wq' Wk t), and what it returns of t is Wo (Wv t): both brackets are
    computed once. Two products with A L columns then take the place of two with H, which are larger for sentences of
    less than H/A tokens (64 at the paper's size). The result is the same.

    Args:
        attention: In evaluation mode; nothing is dropped out.
        text: (B, L, memory_size), one text per sequence, or B = 1 for all.
        text_mask: (B, L), True for real tokens.
    """

    def __init__(self, attention: Attention, text: Tensor, text_mask: Tensor) -> None:
        self.norm, self.heads = attention.norm, attention.heads
        keys, values = attention.memory(text)  # (B, A, L, H/A)
        width = keys.shape[-1]
        query = attention.query.weight.view(self.heads, width, -1)
        output = attention.output.weight.view(-1, self.heads, width)
        self.scores = torch.einsum("bald,adh->bhal", keys, query).flatten(2) / math.sqrt(width)  # (B, H, A L)
        self.outputs = torch.einsum("bald,had->balh", values, output).flatten(1, 2)  # (B, A L, H)
        self.bias = None
        if not text_mask.all():
            self.bias = torch.zeros_like(text_mask, dtype=text.dtype).masked_fill(~text_mask, -math.inf)[:, None, None]
        if len(text) == 1:
            self.scores, self.outputs = self.scores[0], self.outputs[0]  # one plain product for all sequences

    def __call__(self, states: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, H)."""
        scores = (states @ self.scores).unflatten(-1, (self.heads, -1))  # (B, N, A, L)
        weights = torch.softmax(scores if self.bias is None else scores + self.bias, -1)
        return self.norm(states + weights.flatten(-2) @ self.outputs)


class FeedForward(nn.Module):
    """Position-wise network with residual and post-normalisation: LayerNorm(x + W2 relu(W1 x + b1) + b2)."""

    def __init__(self, hidden_size: int, inner_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, H)."""
        return self.norm(states + self.dropout(self.outer(functional.relu(self.inner(states)))))


def sinusoid_positions(count: int, hidden_size: int) -> Tensor:
    """Return the sinusoidal position table (count, H): sines in even columns, cosines in odd ones."""
    position = torch.arange(count, dtype=torch.float64)[:, None]
    frequency = torch.exp(-math.log(10_000.0) * 2 * (torch.arange(hidden_size) // 2).double() / hidden_size)
    angle = position * frequency  # (count, H)
    table = torch.where(torch.arange(hidden_size) % 2 == 0, angle.sin(), angle.cos())
    return table.float()
