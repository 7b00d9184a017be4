"""Attention, feed-forward network and positions: the plain parts that the CTEG modules are made of.

Letters: B batch, N queries, L keys, H hidden, A heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6
"""As in the released code."""


@dataclass
class KeyValues:
    """Keys and values of the past, grown in place: each (B, A, capacity, H/A), the first `length` filled."""

    keys: Tensor
    values: Tensor
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new positions (B, A, n, H/A) and return all keys and values so far."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Multi-head attention with residual and post-normalisation: LayerNorm(query + Attention(query, memory)).

    Projections have no bias, as in the released code. Keys and values may have another width than the queries.

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

    def memory(self, states: Tensor, rows: int | None = None) -> tuple[Tensor, Tensor]:
        """Project attended states (B, L, memory_size) to keys and values (B, A, L, H/A).

        With `rows`, one sentence (B = 1) is shared by that many sequences without being copied.
        """
        keys, values = self.split(self.key(states)), self.split(self.value(states))
        if rows is None:
            return keys, values
        return keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        """Attend from `query` (B, N, H) to given keys and values; `mask` is True where a key may be seen."""
        attended = functional.scaled_dot_product_attention(
            self.split(self.query(query)),
            keys,
            values,
            attn_mask=mask,
            is_causal=is_causal,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, A, N, H/A)
        output = self.output(attended.transpose(1, 2).flatten(2))
        return self.norm(query + functional.dropout(output, self.dropout, self.training))

    def to_self(self, states: Tensor) -> Tensor:
        """Causal self-attention over a whole sequence (B, N, H): position n sees positions <= n."""
        return self.attend(states, *self.memory(states), mask=None, is_causal=True)

    def to_self_cached(self, state: Tensor, past: KeyValues) -> Tensor:
        """Causal self-attention for the next position (B, 1, H), whose keys and values join `past`."""
        keys, values = past.append(*self.memory(state))
        return self.attend(state, keys, values, mask=None, is_causal=False)

    def to_memory(self, states: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Attend to a sentence's keys and values; `mask` (B, 1, 1, L) is True for real tokens."""
        return self.attend(states, *memory, mask=mask, is_causal=False)


class FeedForward(nn.Module):
    """Position-wise network with residual and post-normalisation: LayerNorm(x + W2 relu(W1 x))."""

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
