"""EwA, Expression-wise Attention: the jaw listens to the expression channels.

Every channel is summarised by its average over time; the three jaw channels attend to the fifty expression channels,
and the result is added to the jaw (paper section 5.1). Letters: B batch, T frames, H hidden, A heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cteg.layout import EXPRESSION, JAW
from cteg.model.attention import LAYER_NORM_EPS


class ExpressionAttention(nn.Module):
    """Cross-attention of jaw channels (queries) over expression channels (keys, values).

    A channel is one token: its average over time, lifted by a shared Linear(1, H). Because that lift is rank one,
    keys, queries and values are affine in one scalar each, so scores and sums are computed from the scalars and four
    numbers per head instead of from (B, T, 50, H) tensors; the result is the same.

    Reference: Xu et al. 2025, section 5.1. Deviation: `causal` averages the frames up to t instead of the whole
    sequence, which the paper's form (`global`) does and thereby shows the future to the past in training.
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

    def adjust(self, frames: Tensor, average: Tensor) -> Tensor:
        """Add the attended jaw change to `frames` (B, T, 53), given each frame's channel averages (B, T, 53)."""
        jaw_change = self.jaw_change(average)  # (B, T, 3)
        return torch.cat([frames[..., EXPRESSION], frames[..., JAW] + jaw_change], dim=-1)

    def jaw_change(self, average: Tensor) -> Tensor:
        """(B, T, 53) channel averages -> (B, T, 3) change of the jaw."""
        slope, offset = self.lift.weight[:, 0], self.lift.bias  # token of a scalar m: m * slope + offset, (H,)
        heads = (self.heads, -1)
        query_slope, query_offset = self.query(slope).view(heads), self.query(offset).view(heads)  # (A, H/A)
        key_slope, key_offset = self.key(slope).view(heads), self.key(offset).view(heads)
        jaw, expression = average[..., JAW], average[..., EXPRESSION]  # (B, T, 3), (B, T, 50)

        # Terms that do not depend on the key's scalar cancel in the softmax over keys.
        gain = jaw[..., None] * (query_slope * key_slope).sum(-1) + (query_offset * key_slope).sum(-1)  # (B, T, 3, A)
        scale = 1 / math.sqrt(key_offset.shape[-1])
        weights = torch.softmax(gain[..., None] * expression[..., None, None, :] * scale, dim=-1)  # (B, T, 3, A, 50)
        attended_scalar = (weights * expression[..., None, None, :]).sum(-1)  # (B, T, 3, A)

        value_slope, value_offset = self.value(slope).view(heads), self.value(offset).view(heads)
        attended = attended_scalar[..., None] * value_slope + value_offset  # (B, T, 3, A, H/A)
        tokens = jaw[..., None] * slope + offset  # (B, T, 3, H)
        return self.lower(self.norm(tokens + self.output(attended.flatten(-2))))[..., 0]
