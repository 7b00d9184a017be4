"""A past that is not quite true, as a decoder meets it when it writes on its own.

Training shows true frames; decoding shows what was written, which drifts. A decoder that never saw the difference
follows the drift, and has no need of the sequence latent, for the frames so far say nearly as much. So some clips are
shown on their way to another clip, and the frames to be written lead half of the way back with every step.

Reference: exposure bias as in Bengio et al. 2015, "Scheduled Sampling"; here the wrong past is a mixture with another
clip of the batch instead of the model's own writing, which would take a decoding pass per step.

Letters: B batch, N steps of K frames, D = 53.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIXED = 0.5
"""Share of clips with such a past."""

RETURN = 0.5
"""Share of the way back to the true frames that is made in a step."""


def mixed_history(frames: Tensor, most: float, frames_per_step: int) -> tuple[Tensor, Tensor]:
    """Move what is known of clips towards other clips of the batch.

    Args:
        frames: (B, N*K, 53), true frames.
        most: Largest share of the way to the other clip; drawn evenly up to it, once per clip.
        frames_per_step: K.

    Returns:
        What is added to every step as it is seen (B, N, 53), by its last frame, and to the frames that must be
        written (B, N*K, 53).
    """
    clips, device = len(frames), frames.device
    share = most * torch.rand(clips, 1, 1) * (torch.rand(clips, 1, 1) < MIXED)
    last = frames[:, frames_per_step - 1 :: frames_per_step]
    seen = share.to(device) * (last[torch.randperm(clips)] - last)
    before = torch.nn.functional.pad(seen[:, :-1], (0, 0, 1, 0))  # the first step follows rest, which is never moved
    left = 1 - RETURN * torch.arange(1, frames_per_step + 1, device=device) / frames_per_step
    return seen, (before[:, :, None] * left[:, None]).flatten(1, 2)
