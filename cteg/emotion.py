"""Reading the feeling of a clip: a small classifier of facial motion.

It judges whether generated faces show the feeling of their sentence, and tells a user what a face looks like. It is
trained on reference performances, so in the `open` space it knows their conventions and nothing more.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cteg.layout import D

SEVEN = ("joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral")
"""The feelings that are told apart: Ekman's six and none."""

PARTS = 3
"""A clip is described in thirds: beginning, middle, end."""


def motion_features(frames: NDArray[np.floating]) -> NDArray[np.float32]:
    """Describe a clip (T, 53) by the mean of each third, and the largest value and the standard deviation over time.

    A third that a clip of one or two frames lacks is its last frame.

    Returns:
        (53 * (PARTS + 2),) float32.
    """
    thirds = [part.mean(0) if len(part) else frames[-1] for part in np.array_split(frames, PARTS)]
    return np.concatenate([*thirds, frames.max(0), frames.std(0)]).astype(np.float32)


class MotionClassifier(nn.Module):
    """Clip features -> logits of the seven feelings `SEVEN`."""

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_size: int = 128) -> None:
        super().__init__()
        size = D * (PARTS + 2)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.network = nn.Sequential(
            nn.Linear(size, hidden_size), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden_size, len(SEVEN))
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, 7) logits."""
        return self.network((features - self.mean) / self.std)

    @torch.inference_mode()
    def probabilities(self, clips: list[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Probability of each of `SEVEN` for every clip (T, 53): (B, 7)."""
        return torch.softmax(self.eval()(self._features(clips)), -1).numpy()

    @torch.inference_mode()
    def embed(self, clips: list[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Hidden features of every clip (T, 53), in which sets of clips are compared: (B, hidden_size)."""
        linear, activation = self.network[:2]
        return activation(linear((self._features(clips) - self.mean) / self.std)).numpy()

    @staticmethod
    def _features(clips: list[NDArray[np.floating]]) -> Tensor:
        return torch.from_numpy(np.stack([motion_features(clip) for clip in clips]))
