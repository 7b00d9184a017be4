"""EwA, Expression-wise Attention: the jaw listens to the expression channels.

Every channel is summarised by its average over time; the three jaw channels attend to the fifty expression channels,
and the result is added to the jaw (paper section 5.1). Letters: B batch, T frames, H hidden, A heads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cteg.layout import EXPRESSION, JAW
from cteg.model.attention import LAYER_NORM_EPS


class FoldedWeights(NamedTuple):
    """What EwA needs of its projections: numbers per head (A,), (A,), rows per head (A, H), and one row (H,)."""

    gain_slope: Tensor
    gain_offset: Tensor
    value_slope: Tensor
    value_offset: Tensor


class ExpressionAttention(nn.Module):
    """Cross-attention of jaw channels (queries) over expression channels (keys, values).

        E^j' = output(softmax(query(E^j) key(E^f)' / sqrt(H/A)) value(E^f))     E^j (3, H), E^f (50, H)
        jaw  = jaw + lower(LayerNorm(E^j + E^j'))                               (3,)

    A channel is one token: its average over time, lifted by a shared Linear(1, H). Because that lift is rank one,
    keys, queries and values are affine in one scalar each, so scores and sums are computed from the scalars and a few
    numbers per head instead of from (B, T, 50, H) tensors; the result is the same.

    Reference: Xu et al. 2025, section 5.1. Deviation: `causal` averages the frames up to t instead of the whole
    sequence, which the paper's form (`global`) does and thereby shows the future to the past in training.

    Args:
        hidden_size: H.
        heads: A; divides H.
        form: `causal` or `global`, see `CTEGConfig.expression_attention`.
    """

    def __init__(self, hidden_size: int, heads: int, form: str) -> None:
        super().__init__()
        self.heads = heads
        self.form = form
        self.lift = nn.Linear(1, hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.lower = nn.Linear(hidden_size, 1)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Return `frames` with their jaw adjusted.

        Args:
            frames: (B, T, 53) coefficients.
            valid: (B, T), True for real frames; padding does not enter the global average.

        Returns:
            (B, T, 53).
        """
        if self.form == "global":
            weight = valid[..., None].to(frames.dtype)
            average = (frames * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
            average = average.expand_as(frames)
        else:
            count = torch.arange(1, frames.shape[1] + 1, device=frames.device, dtype=frames.dtype)
            average = frames.cumsum(1) / count[:, None]
        return self.adjust(frames, average)

    def adjust(self, frames: Tensor, average: Tensor, folded: FoldedWeights | None = None) -> Tensor:
        """Add the attended jaw change to `frames` (B, T, 53), given each frame's channel averages (B, T, 53)."""
        jaw_change = self.jaw_change(average, folded)  # (B, T, 3)
        return torch.cat([frames[..., EXPRESSION], frames[..., JAW] + jaw_change], dim=-1)

    def jaw_change(self, average: Tensor, folded: FoldedWeights | None = None) -> Tensor:
        """(B, T, 53) channel averages -> (B, T, 3) change of the jaw; who asks often hands in `fold()`."""
        folded = folded or self.fold()
        jaw, expression = average[..., JAW], average[..., EXPRESSION]  # (B, T, 3), (B, T, 50)
        gain = jaw[..., None] * folded.gain_slope + folded.gain_offset  # (B, T, 3, A)
        weights = torch.softmax(gain[..., None] * expression[..., None, None, :], dim=-1)  # (B, T, 3, A, 50)
        attended_scalar = (weights * expression[..., None, None, :]).sum(-1)  # (B, T, 3, A)
        attended = attended_scalar @ folded.value_slope + folded.value_offset  # (B, T, 3, H)
        tokens = jaw[..., None] * self.lift.weight[:, 0] + self.lift.bias  # (B, T, 3, H)
        return self.lower(self.norm(tokens + attended))[..., 0]

    def fold(self) -> FoldedWeights:
        """Multiply the projections out: what they make of a token m * slope + offset, for any m."""
        slope, offset = self.lift.weight[:, 0], self.lift.bias  # (H,)
        heads = (self.heads, -1)
        query_slope, query_offset = self.query(slope).view(heads), self.query(offset).view(heads)  # (A, H/A)
        key_slope = self.key(slope).view(heads)  # a key's offset adds the same to all scores: nothing in the softmax
        scale = 1 / math.sqrt(key_slope.shape[-1])
        output = self.output.weight.view(-1, *key_slope.shape)  # (H, A, H/A)
        return FoldedWeights(
            gain_slope=scale * (query_slope * key_slope).sum(-1),
            gain_offset=scale * (query_offset * key_slope).sum(-1),
            value_slope=torch.einsum("had,ad->ah", output, self.value(slope).view(heads)),
            value_offset=self.output(self.value(offset)),
        )
