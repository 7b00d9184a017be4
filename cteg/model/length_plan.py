"""The length plan: how long a clip will be is drawn before its first frame, and every step knows how much is left.

Not in the paper. A hazard per frame ends a clip wherever its draw falls, and a decoder that cannot know when averages
over all the times at which a face may relax: it fades from the middle on and stops half relaxed. With the length known,
a face holds its apex and is back at rest when the clip ends.

Letters: B batch, n steps, K frames per step, T the most frames of a clip, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cteg.model.attention import sinusoid_positions

STOP_BIAS = -4.0
"""First log-odds of ending with a frame: untrained clips last some 55 frames, like EmoAva's average of 52."""


class LengthPlan(nn.Module):
    """P(length | sentence, sequence latent), and what a step is told of the frames that are left.

    Args:
        hidden_size: H.
        frames: T, a whole number of steps.
    """

    left_positions: Tensor

    def __init__(self, hidden_size: int, frames: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, frames))
        nn.init.constant_(self.network[-1].bias, STOP_BIAS)
        self.up = nn.Linear(hidden_size, hidden_size, bias=False)
        self.register_buffer("left_positions", sinusoid_positions(frames + 1, hidden_size), persistent=False)

    def stop_logits(self, condition: Tensor) -> Tensor:
        """Condition of the clips (B, 1, H) -> (B, T), log-odds that a clip ends with a frame if it lasts until it."""
        return self.network(condition[:, 0])

    def forward(self, lengths: Tensor, known: Tensor) -> Tensor:
        """Tell steps how much is left.

        Args:
            lengths: (B,), frames of every clip.
            known: (n,), frames that are known before each step.

        Returns:
            (B, n, H), joins the input of the steps; after the end it stays at nothing left.
        """
        left = (lengths[:, None] - known).clamp(0, len(self.left_positions) - 1)
        return self.up(self.left_positions[left])


def planned_lengths(stop_logits: Tensor, log_threshold: Tensor) -> Tensor:
    """Return the first frame count at which survival falls to a threshold.

    Args:
        stop_logits: (B, T), see `LengthPlan.stop_logits`.
        log_threshold: (B,), log of the share of clips that last longer.

    Returns:
        (B,), whole numbers 1...T.
    """
    log_survival = torch.nn.functional.logsigmoid(-stop_logits).cumsum(1)  # after each frame
    return 1 + (log_survival[:, :-1] > log_threshold[:, None]).sum(1)
