"""What every system that is compared can do.

Letters: S sentences, L text tokens, T frames, D = 53.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Frames = NDArray[np.float32]
"""A clip: (T, 53) coefficients."""


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences.

    Attributes:
        texts: S sentences.
        states: (S, L, text_size), hidden states of the text encoder, padded.
        mask: (S, L), True for real tokens.
    """

    texts: list[str]
    states: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, indices: Sequence[int]) -> Sentences:
        """Return chosen sentences, also several times, without the columns that none of them needs."""
        chosen = torch.as_tensor(indices)
        mask = self.mask[chosen]
        length = int(mask.sum(1).max())
        return Sentences([self.texts[i] for i in indices], self.states[chosen, :length], mask[:, :length])


class System(Protocol):
    """Turns sentences into clips.

    Attributes:
        name: Its row in the tables.
        stride: Frames that `predict` writes at once; None where the system cannot predict.
    """

    name: str
    stride: int | None

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """Return `samples` clips for every sentence; equal arguments give equal clips.

        Args:
            sentences: S sentences.
            samples: Clips for each.
            temperature: 0...2; systems without one take no notice.
            seed: Of all randomness.
        """

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames] | None:
        """Return `count` clips made without any text, or None where the system has no such mode."""

    def predict(self, sentences: Sentences, clips: Sequence[Frames]) -> list[Frames] | None:
        """Predict every clip from its own past: each stretch of `stride` frames from the true frames before it.

        Args:
            sentences: S sentences, the row's own for every clip.
            clips: S true clips.

        Returns:
            S clips of the same lengths, or None where the system cannot predict.
        """


class CannotPredict:
    """Base of systems that do not look at a past."""

    stride: int | None = None

    def predict(self, sentences: Sentences, clips: Sequence[Frames]) -> list[Frames] | None:
        """See `System.predict`."""
        return None


class NeedsText:
    """Base of systems that do nothing without a text."""

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames] | None:
        """See `System.generate_freely`."""
        return None
