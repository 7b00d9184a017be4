"""Baselines that hand out what others performed: nearest text, a random clip, shuffled frames, the mean face.

Letters: S sentences, D = 53.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cteg.baselines.system import CannotPredict, Frames, NeedsText, Sentences
from cteg.model.sequence_latent import pool_text


@dataclass(frozen=True)
class Bank:
    """Training performances.

    Attributes:
        pooled: (S, text_size), mean of the text states of every training sentence.
        of_sentence: For every sentence the numbers of its performances.
        clip: Returns the frames of a performance by its number, (T, 53).
        count: Performances in all, numbered from 0.
    """

    pooled: NDArray[np.float32]
    of_sentence: Sequence[NDArray[np.integer]]
    clip: Callable[[int], Frames]
    count: int


class NearestText(NeedsText, CannotPredict):
    """The performances of the training sentences nearest to the sentence: cosine of mean text states."""

    name = "nearest text"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.directions = _directions(bank.pooled)

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; the same for every temperature and seed."""
        likeness = _directions(pool_text(sentences.states, sentences.mask).numpy()) @ self.directions.T
        return [self._nearest(row, samples) for row in likeness]

    def _nearest(self, likeness: NDArray[np.float32], samples: int) -> list[Frames]:
        clips: list[Frames] = []
        for sentence in np.argsort(-likeness, kind="stable"):
            clips += [self.bank.clip(int(i)) for i in self.bank.of_sentence[sentence]]
            if len(clips) >= samples:
                break
        return clips[:samples]


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


class RandomClip(CannotPredict):
    """Any training performance for any sentence: perfect motion, deaf."""

    name = "random clip"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; the same for every temperature."""
        clips = self.generate_freely(len(sentences) * samples, temperature, seed)
        return [clips[first : first + samples] for first in range(0, len(clips), samples)]

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames]:
        """See `System.generate_freely`."""
        return [self.bank.clip(int(i)) for i in np.random.default_rng(seed).integers(self.bank.count, size=count)]


class MeanFace:
    """The mean training frame, held for as long as some training performance: what minimises squared error.

    Args:
        bank: Lengths are drawn from it.
        mean: (53,), mean over the training frames.
    """

    name = "mean face"
    stride = 1

    def __init__(self, bank: Bank, mean: NDArray[np.floating]) -> None:
        self.lengths = RandomClip(bank)
        self.mean = np.asarray(mean, np.float32)

    def _held(self, clip: Frames) -> Frames:
        return np.tile(self.mean, (len(clip), 1))

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; the same for every temperature."""
        groups = self.lengths.generate(sentences, samples, temperature, seed)
        return [[self._held(clip) for clip in clips] for clips in groups]

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames]:
        """See `System.generate_freely`."""
        return [self._held(clip) for clip in self.lengths.generate_freely(count, temperature, seed)]

    def predict(self, sentences: Sentences, clips: Sequence[Frames]) -> list[Frames]:
        """See `System.predict`: the same frame whatever was."""
        return [self._held(clip) for clip in clips]


class ShuffledFrames(NeedsText, CannotPredict):
    """Reference performances of the sentence itself with their frames in random order: right faces, no motion.

    Args:
        references: For every sentence of `generate` its reference performances.
    """

    name = "shuffled frames"

    def __init__(self, references: Sequence[Sequence[Frames]]) -> None:
        self.references = references

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; the same for every temperature."""
        rng = np.random.default_rng(seed)
        groups = zip(self.references, sentences.texts, strict=True)
        return [[rng.permutation(clips[i % len(clips)]) for i in range(samples)] for clips, _ in groups]


class DrawnByFeeling(NeedsText, CannotPredict):
    """Performances of *other* held-out sentences whose leading feeling is drawn from a given distribution.

    With the human labels' distribution this is an ideal system that knows all but the words; with a text encoder's
    reading it is the best that any system can do which learns the feeling from this encoder.

    Args:
        name: Its row in the tables.
        weights: (S, C), distribution of the leading feeling for every sentence of `generate`.
        clips: Performances to draw from.
        feelings: (clips,), index of the leading feeling of each.
        texts: (clips,), the sentence of each.
    """

    def __init__(
        self,
        name: str,
        weights: NDArray[np.floating],
        clips: Sequence[Frames],
        feelings: NDArray[np.integer],
        texts: Sequence[str],
    ) -> None:
        self.name, self.weights, self.clips, self.texts = name, weights, clips, texts
        self.of_feeling = [np.flatnonzero(feelings == index) for index in range(weights.shape[1])]

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; the same for every temperature."""
        rng = np.random.default_rng(seed)
        has_clips = np.array([len(clips) > 0 for clips in self.of_feeling])
        groups = []
        for text, weights in zip(sentences.texts, self.weights, strict=True):
            possible = np.asarray(weights, np.float64) * has_clips
            feelings = rng.choice(len(possible), size=samples, p=possible / possible.sum())
            groups.append([self._draw(text, int(feeling), rng) for feeling in feelings])
        return groups

    def _draw(self, text: str, feeling: int, rng: np.random.Generator) -> Frames:
        candidates = self.of_feeling[feeling]
        others = [i for i in candidates if self.texts[i] != text]
        return self.clips[int(rng.choice(others or candidates))]
