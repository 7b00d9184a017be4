"""What every system that is compared can do.

Letters: S sentences, L text tokens, T frames, D = 53.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class InBatches(ABC):
    """Base of systems that write and predict many clips together, each clip with a seed of its own.

    Attributes:
        rows: Clips together: bounds the memory of the caches, and is enough to keep two cores busy.
        null_text: (1, text_size), the state that stands for no text in training.
    """

    rows = 256
    null_text: Tensor

    @abstractmethod
    def _write(self, text: Tensor, mask: Tensor, seed: int, temperature: float) -> list[Frames]:
        """Write a clip for every row of text states (B, L, text_size) with their mask (B, L); row i has `seed` + i."""

    @abstractmethod
    def _predict(self, sentences: Sentences, clips: list[Frames]) -> Frames:
        """Predict clips, one per sentence, from their own past: (B, T, 53), T at least the longest clip's frames."""

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; sample i of sentence s has the seed `seed + s * samples + i`."""
        rows = [sentence for sentence in range(len(sentences)) for _ in range(samples)]
        clips: list[Frames] = []
        for start in range(0, len(rows), self.rows):
            part = sentences.rows(rows[start : start + self.rows])
            clips += self._write(part.states, part.mask, seed + start, temperature)
        return [clips[first : first + samples] for first in range(0, len(clips), samples)]

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames] | None:
        """See `System.generate_freely`; clip i has the seed `seed + i`."""
        clips: list[Frames] = []
        for start in range(0, count, self.rows):
            rows = min(self.rows, count - start)
            text = self.null_text.detach().expand(rows, 1, -1)
            clips += self._write(text, torch.ones(rows, 1, dtype=torch.bool), seed + start, temperature)
        return clips

    def predict(self, sentences: Sentences, clips: Sequence[Frames]) -> list[Frames]:
        """See `System.predict`; clips of like length are predicted together."""
        predicted: list[Frames] = [np.empty(0)] * len(clips)
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
        for start in range(0, len(order), self.rows):
            part = order[start : start + self.rows]
            frames = self._predict(sentences.rows(part), [clips[i] for i in part])
            for row, index in enumerate(part):
                predicted[index] = frames[row, : len(clips[index])]
        return predicted


def pad_clips(clips: Sequence[Frames], frames: int) -> Frames:
    """Bring B clips (T_i, 53) to a length of `frames` by repeating their last frame: (B, frames, 53)."""
    return np.stack([np.pad(clip, ((0, frames - len(clip)), (0, 0)), mode="edge") for clip in clips])


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
